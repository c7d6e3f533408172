"""Exceptions as portable JSON from which they can be built again, as themselves.

What DBOS writes of an exception stays as it is, since other languages read it: `name`,
`message`, `code`, `data`. The member `python` beside it has the class, the arguments and the
attributes. It is null for a class that cannot be found again.

Whoever writes into the database must not gain more than an exception by it: nothing is
imported, no `__init__` or `__new__` of a class is called but those of Python's own exceptions,
and nothing but a subclass of Exception is made.
"""

import json
from collections.abc import Iterator
from types import MemberDescriptorType
from typing import Any, NamedTuple

from dbos import DBOSPortableJSONSerializer, PortableWorkflowError
from dbos._serialization import exception_to_workflow_error_data
from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError

from . import literals
from .classes import built_in_base, found, is_built_in, is_findable, mro, namespace
from .literals import Json, text

LARGEST_CHARACTERS = 100_000
"""Of the member `python`. An exception is a message; what is larger is a document by mistake."""

CHECKED_BY_INIT = (UnicodeEncodeError, UnicodeDecodeError, UnicodeTranslateError)
"""Their fields are what their arguments are; wrong ones would crash the interpreter."""

WITHOUT_FIELDS = (BaseException, BaseExceptionGroup, *CHECKED_BY_INIT)
"""Classes whose fields follow from the arguments."""

_ARGS = vars(BaseException)["args"]
_CAUSE = vars(BaseException)["__cause__"]
_DICT = vars(BaseException)["__dict__"]


class Stored(NamedTuple):
    """What is stored of an exception, and what a replay raises that reads it."""

    text: str
    replayed: Exception
    """The exception itself, if a replay raises one that is the same."""
    lost: list[str]
    """What is not kept as it is: attribute and type."""


class Writer(literals.Writer):
    """Writes exceptions, also those in the attributes of others."""

    def python(self, error: BaseException, message: str) -> Json:
        """The member `python`; None when its class cannot be found again."""
        kind = type(error)
        if not is_findable(kind) or not _can_be_made(kind):
            self.lost.append(f"the class {kind.__qualname__}")
            return None
        written: Json = {"module": kind.__module__, "qualname": kind.__qualname__}
        if (args := self._args(error, message)) is not None:
            written["args"] = args
        if attributes := dict(self._attributes(error)):
            written["attributes"] = attributes
        if cause := self._cause(error):
            written["cause"] = cause
        return written

    def other(self, value: Any) -> Json:
        """Exceptions are kept; see Writer."""
        if issubclass(type(value), Exception):
            return {"exception": self._nested(value)}
        return super().other(value)

    def _nested(self, error: BaseException) -> Json:
        said = text(error)
        self.spend(len(said))
        return {"name": _name(error), "message": said, "python": self.python(error, said)}

    def _args(self, error: BaseException, message: str) -> Json:
        """The arguments; None for the message alone, which need not be stored twice."""
        args = _arguments(error)
        if len(args) == 1 and type(args[0]) is str and args[0] == message:
            return None
        return self._kept("args", list(args))

    def _attributes(self, error: BaseException) -> Iterator[tuple[str, Json]]:
        for name, value in {**dict(_fields(error)), **_state(error)}.items():
            kept = self._kept(name, value)
            if kept is None and value is not None and type(value) is list:
                kept = self._kept(name, value[-1:])
            if kept is not None or value is None:
                yield name, kept

    def _cause(self, error: BaseException) -> Json:
        cause = _CAUSE.__get__(error)
        return None if cause is None else self._kept("__cause__", cause)

    def _kept(self, name: str, value: Any) -> Json:
        """A value as JSON, and None if it is too large; note what is lost of it."""
        left, before = self.left, len(self.lost)
        try:
            self.spend(len(name))
            return self.write(value)
        except Exception:  # TooLarge, or whatever the value's own methods raise.
            self.left = left
            del self.lost[before:]
            self.lost.append(type(value).__name__)
            return None
        finally:
            self.lost[before:] = [f"{name} ({each})" for each in self.lost[before:]]


class Reader(literals.Reader):
    """Reads what a `Writer` has written."""

    def exception(self, record: dict[str, Json]) -> Exception:
        """The exception of a record; raises an Exception when it cannot be made."""
        python = record["python"]
        kind = found(python["module"], python["qualname"])
        if kind is None or not issubclass(kind, Exception) or not _can_be_made(kind):
            raise LookupError(python["qualname"])
        args = [record["message"]] if python.get("args") is None else self.read(python["args"])
        error = _made(kind, tuple(args))
        for name, value in python.get("attributes", {}).items():
            _put(error, name, self.read(value))
        if cause := python.get("cause"):
            _CAUSE.__set__(error, self.read(cause))
        str(error)  # It may need what is not kept.
        return error

    def tagged(self, tag: str, content: Json) -> Any:
        """Exceptions, or PortableWorkflowErrors in their place; see Reader."""
        if tag != "exception":
            return super().tagged(tag, content)
        try:
            return self.exception(content)
        except Exception:
            return PortableWorkflowError(content["message"], content["name"])


def stored(error: Exception) -> Stored:
    """What is stored of an exception. It never fails, whatever the exception is."""
    record, lost = _record(error)
    try:
        written = DBOSPortableJSONSerializer().serialize(record)
    except Exception:  # NaN in `data`, an endless integer as `code`...
        record |= {"code": None, "data": text(record.get("data"))}
        written = DBOSPortableJSONSerializer().serialize(record)
    again = replayed(json.loads(written))
    faithful = not lost and type(again) is type(error) and _record(again)[0] == record
    if not faithful:
        lost = lost or [f"the class {type(error).__qualname__}"]
    return Stored(written, error if faithful else again, lost)


def replayed(record: dict[str, Json]) -> Exception:
    """What a replay raises that reads this record."""
    try:
        return Reader().exception(record) if "python" in record else _builtin(record)
    except Exception:  # The row may be another's, or the class gone: DBOS's own way is left.
        return PortableWorkflowError(
            record["message"], record["name"], record.get("code"), record.get("data")
        )


def _record(error: Exception) -> tuple[dict[str, Json], list[str]]:
    record: dict[str, Json] = {**exception_to_workflow_error_data(error)}
    record["name"] = _name(error)
    writer = Writer(LARGEST_CHARACTERS)
    try:
        record["python"] = writer.python(error, record["message"])
    except Exception:  # Too large, or whatever its class does when it is looked at.
        record["python"] = None
        writer.lost.append("all but the message")
    return record, writer.lost


def _name(error: BaseException) -> str:
    """The name for other languages; what stands for another error has that one's."""
    return error.name if type(error) is PortableWorkflowError else type(error).__name__


def _builtin(record: dict[str, Json]) -> Exception:
    """What workers of releases before stored by its name alone.

    Python tells that there is no `code`, other languages leave it out: their TypeError is no
    TypeError of Python.
    """
    kind = found("builtins", record["name"])
    if kind is None or not issubclass(kind, Exception) or record["code"] is not None:
        raise LookupError(record["name"])
    error = _made(kind, (record["message"],))
    if "data" in record or str(error) != record["message"] or not _can_be_made(kind):
        raise LookupError(record["name"])
    return error


def _can_be_made(kind: type) -> bool:
    """asyncio never ends what waits for a StopIteration from a thread."""
    return not issubclass(kind, StopIteration)


def _made(kind: type[Exception], args: tuple[Any, ...]) -> Exception:
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


def _arguments(error: BaseException) -> tuple[Any, ...]:
    if type(error) is ValidationError:
        return tuple(error.__reduce__()[1])
    args: tuple[Any, ...] = _ARGS.__get__(error)
    return args


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


def _put(error: BaseException, name: str, value: Any) -> None:
    """Set an attribute without a call of what its class defines."""
    names = (namespace(kind) for kind in mro(type(error)) if kind not in WITHOUT_FIELDS)
    member = next((each[name] for each in names if name in each), None)
    if type(member) is MemberDescriptorType:
        member.__set__(error, value)
    else:
        _DICT.__get__(error)[name] = value
