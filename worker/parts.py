"""The parts of an exception: taken from one, and put into another of its class.

No method of the class is called, except for `__reduce__`, by which it prepares a pickle.
"""

from collections.abc import Iterator
from types import MemberDescriptorType
from typing import Any

from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError

from .classes import built_in_base, is_built_in, mro, namespace

CHECKED_BY_INIT = (UnicodeEncodeError, UnicodeDecodeError, UnicodeTranslateError)
"""Their fields are what their arguments are; wrong ones would crash the interpreter."""

WITHOUT_FIELDS = (BaseException, BaseExceptionGroup, *CHECKED_BY_INIT)
"""Classes whose fields follow from the arguments."""

_ARGS = vars(BaseException)["args"]
_CAUSE = vars(BaseException)["__cause__"]
_DICT = vars(BaseException)["__dict__"]


def can_be_made(kind: type) -> bool:
    """Whether a replay may raise it. asyncio waits for ever when a thread raises StopIteration."""
    return not issubclass(kind, StopIteration)


def made(kind: type[Exception], args: tuple[Any, ...]) -> Exception:
    """An exception without a call of what its class defines."""
    if kind is ValidationError:
        return _validation_error(*args)
    native = built_in_base(kind)
    error: Any = native.__new__(kind, *(args if native is BaseExceptionGroup else ()))
    if native in CHECKED_BY_INIT:
        native.__init__(error, *args)
        if min(error.start, error.end) < 0:
            raise ValueError("no position")
    _ARGS.__set__(error, args)
    return error  # type: ignore[no-any-return]


def _validation_error(title: str, lines: list[Any], mode: Any, hidden: bool) -> ValidationError:
    """Pydantic's error, which has a maker of its own."""
    details = [_detail(line) for line in lines]
    error = ValidationError.from_exception_data(title, details, mode, hidden)
    error.args = ()
    return error


def _detail(line: Any) -> InitErrorDetails:
    detail = InitErrorDetails(type=line["type"], loc=line["loc"], input=line["input"])
    if "ctx" in line:
        detail["ctx"] = line["ctx"]
    try:
        ValidationError.from_exception_data("", [detail])
    except KeyError:  # A type of the application's own.
        detail["type"] = PydanticCustomError(line["type"], line["msg"])
    return detail


def arguments(error: BaseException) -> tuple[Any, ...]:
    """What `made` makes the same exception of."""
    if type(error) is ValidationError:
        return tuple(error.__reduce__()[1])
    args: tuple[Any, ...] = _ARGS.__get__(error)
    return args


def attributes(error: BaseException) -> dict[str, Any]:
    """All attributes by name: those in `__dict__`, in `__slots__`, and fields such as errno."""
    return {**dict(_fields(error)), **_state(error)}


def cause(error: BaseException) -> list[BaseException]:
    """What it was raised from, in a list that is empty if it was raised from nothing."""
    first = _CAUSE.__get__(error)
    return [] if first is None else [first]


def put_cause(error: BaseException, first: BaseException) -> None:
    """Say what it was raised from."""
    _CAUSE.__set__(error, first)


def _fields(error: BaseException) -> Iterator[tuple[str, Any]]:
    """What is in `__slots__`, and in the fields of built-in exceptions, such as errno."""
    for kind in reversed(mro(type(error))):
        for name, member in namespace(kind).items():
            if type(member) is not MemberDescriptorType or kind in WITHOUT_FIELDS:
                continue
            try:
                value = member.__get__(error)
            except AttributeError:  # It has never been set.
                continue
            if value is not None or not is_built_in(kind):
                yield name, value


def _state(error: BaseException) -> dict[str, Any]:
    """The attributes of an exception, some as its class prepares them for a pickle.

    psycopg does, whose errors hold a connection.
    """
    attributes = dict(_DICT.__get__(error))
    kinds = [kind for kind in mro(type(error)) if not is_built_in(kind)]
    if not any("__reduce__" in namespace(kind) for kind in kinds):
        return attributes
    try:
        reduced: Any = error.__reduce__()
        return {**attributes, **reduced[2]}
    except Exception:  # It is prepared in another way, or not at all.
        return attributes


def put(error: BaseException, name: str, value: Any) -> None:
    """Set an attribute without a call of what its class defines."""
    names = (namespace(kind) for kind in mro(type(error)) if kind not in WITHOUT_FIELDS)
    member = next((each[name] for each in names if name in each), None)
    if type(member) is MemberDescriptorType:
        member.__set__(error, value)
    else:
        _DICT.__get__(error)[name] = value
