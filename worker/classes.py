"""Classes by their names, without executing anything: nothing is imported, called or asked."""

import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

HEAP_TYPE = 1 << 9
"""CPython's flag of a class that Python code or an extension has made while the process ran."""

_OF_MODULE = vars(ModuleType)["__dict__"]
_OF_CLASS = vars(type)["__dict__"]
_BASE, _FLAGS, _MRO = vars(type)["__base__"], vars(type)["__flags__"], vars(type)["__mro__"]


def found(module: str, qualname: str) -> type | None:
    """The class of this name in a module that is imported already, if there is one."""
    imported = sys.modules.get(module)
    if not issubclass(type(imported), ModuleType):
        return None
    within: Mapping[str, Any] = _OF_MODULE.__get__(imported)
    kind: type | None = None
    for name in qualname.split("."):
        named = within.get(name)
        if not issubclass(type(named), type):
            return None
        kind, within = named, _OF_CLASS.__get__(named)
    return kind


def namespace(kind: type) -> Mapping[str, Any]:
    """The names that a class itself defines, also where its metaclass hides them."""
    names: Mapping[str, Any] = _OF_CLASS.__get__(kind)
    return names


def is_findable(kind: type) -> bool:
    """Whether the name of a class leads to it, also in another process.

    It does not for a class inside of a function, and `__main__` is another module there.
    """
    return kind.__module__ != "__main__" and found(kind.__module__, kind.__qualname__) is kind


def mro(kind: type) -> tuple[type, ...]:
    """A class and those that it inherits from."""
    kinds: tuple[type, ...] = _MRO.__get__(kind)
    return kinds


def is_built_in(kind: type) -> bool:
    """Whether a class is one of Python's own, made before any code ran."""
    return not _FLAGS.__get__(kind) & HEAP_TYPE


def built_in_base(kind: type) -> Any:
    """The built-in class that lays the instances of a class out in memory."""
    while not is_built_in(kind):
        kind = _BASE.__get__(kind)
    return kind
