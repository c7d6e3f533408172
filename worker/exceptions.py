"""Exceptions as portable JSON from which they can be built again, as themselves.

What DBOS writes of an exception stays as it is, since other languages read it: `name`,
`message`, `code`, `data`. The member `python` beside it has the class, the arguments and the
attributes. It is null for a class that cannot be found again.

The functions read `public`, which is true if callers may read the message, and of a step that was
retried in vain `attempts`, and `cause` with its own `name`, `message` and `public`.

Whoever writes into the database must not gain more than an exception by it: nothing is
imported, no `__init__` or `__new__` of a class is called but those of Python's own exceptions,
and nothing but a subclass of Exception is made.
"""

import json
from typing import Any, NamedTuple

from dbos import DBOSPortableJSONSerializer, PortableWorkflowError
from dbos import error as dbos_error
from dbos._serialization import exception_to_workflow_error_data

from . import literals
from .classes import found, is_findable
from .hints import dumped_by_hint, revived
from .literals import Json, text
from .parts import arguments, attributes, can_be_made, cause, made, put, put_cause
from .public import is_public

LARGEST_CHARACTERS = 100_000
"""Length of the member `python`, and of each of the others. An exception is a message; what is
larger is a document by mistake."""

LARGEST_CAUSE_CHARACTERS = 10_000
"""Length of the message in the member `cause`, longer than people read. It stands in
`python`, too."""


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
        if not is_findable(kind) or not can_be_made(kind):
            self.lost.append(f"the class {kind.__qualname__}")
            return None
        values = attributes(error)
        kept = {name: each for name in values for each in self._attribute(kind, name, values[name])}
        args = self._args(error, message, {name: values[name] for name in kept})
        first = [each for value in cause(error) for each in self._cause(value)]
        written: Json = {"module": kind.__module__, "qualname": kind.__qualname__}
        optional = {"args": args, "attributes": kept or None, "cause": first or None}
        return written | {member: each for member, each in optional.items() if each is not None}

    def other(self, value: Any) -> Json:
        """Exceptions are kept; see Writer."""
        if issubclass(type(value), Exception):
            return {"exception": self._nested(value)}
        return super().other(value)

    def _nested(self, error: BaseException) -> Json:
        said = text(error)
        self.spend(len(said))
        return {"name": _name(error), "message": said, "python": self.python(error, said)}

    def _args(self, error: BaseException, message: str, values: dict[str, Any]) -> Json:
        """The arguments; None for the message alone, which need not be stored twice.

        One that is an attribute, too, is stored once. When one is too large, all are left out.
        """
        args = arguments(error)
        if len(args) == 1 and type(args[0]) is str and args[0] == message:
            return None
        written: list[Json] = []
        for arg in args:
            name = next((name for name, value in values.items() if value is arg), None)
            is_same = name is not None and not isinstance(arg, str | int | float | None)
            kept = [{"attribute": name}] if is_same else self._kept("args", arg)
            if not kept:
                return None
            written += kept
        return written

    def _attribute(self, kind: type, name: str, value: Any) -> list[Json]:
        """The value of an attribute, in a list that is empty if it is too large.

        What has no form in JSON may have a type hint, from which pydantic makes one.
        """
        left, before = self.left, len(self.lost)
        kept = self._kept(name, value)
        if len(self.lost) > before and (dumped := dumped_by_hint(kind, name, value)):
            del self.lost[before:]
            self.left = left
            kept = self._kept(name, dumped[0])
            return [{"hinted": each} for each in kept]
        if not kept and type(value) is list:
            return self._kept(name, value[-1:])
        return kept

    def _cause(self, first: BaseException) -> list[Json]:
        if isinstance(first, Exception):
            return self._kept("__cause__", first)
        self.lost.append(f"__cause__ ({type(first).__name__})")
        return []

    def _kept(self, name: str, value: Any) -> list[Json]:
        """A value as JSON, in a list that is empty if it is too large; notes what is lost."""
        left, before = self.left, len(self.lost)
        try:
            self.spend(len(name))
            return [self.write(value)]
        except Exception:  # TooLarge, or whatever the value's own methods raise.
            self.left = left
            self.lost[before:] = [type(value).__name__]
            return []
        finally:
            self.lost[before:] = [f"{name} ({each})" for each in self.lost[before:]]


class Reader(literals.Reader):
    """Reads what a `Writer` has written."""

    def exception(self, record: dict[str, Json]) -> Exception:
        """The exception of a record; raises an Exception when it cannot be made."""
        python = record["python"]
        kind = found(python["module"], python["qualname"])
        if kind is None or not issubclass(kind, Exception) or not can_be_made(kind):
            raise LookupError(python["qualname"])
        written = python.get("attributes", {})
        values = {name: self._attribute(kind, name, each) for name, each in written.items()}
        args = [self._arg(arg, values) for arg in python.get("args", [record["message"]])]
        error = made(kind, tuple(args))
        for name, value in values.items():
            put(error, name, value)
        for first in python.get("cause", ()):
            put_cause(error, self.read(first))
        str(error)  # It may need what is not kept.
        return error

    def _arg(self, arg: Json, values: dict[str, Any]) -> Any:
        is_same = isinstance(arg, dict) and arg.keys() == {"attribute"}
        return values[arg["attribute"]] if is_same else self.read(arg)

    def _attribute(self, kind: type, name: str, written: Json) -> Any:
        is_hinted = isinstance(written, dict) and written.keys() == {"hinted"}
        return (
            revived(kind, name, self.read(written["hinted"])) if is_hinted else self.read(written)
        )

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
        record |= {"code": None, "data": _shortened(text(record.get("data")))}
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
    record |= _public(error) | _retries(error)
    writer = Writer(LARGEST_CHARACTERS)
    writer.lost += _shorten(record)
    try:
        record["python"] = writer.python(error, record["message"])
    except Exception:  # Too large, or whatever its class does when it is looked at.
        record["python"] = None
        writer.lost.append("all but the message")
    return record, writer.lost


def last_cause(error: BaseException) -> BaseException | None:
    """What the last attempt has raised of a step that was retried in vain."""
    errors = getattr(error, "errors", None) if _is_of_retries(error) else None
    last = errors[-1] if type(errors) is list and errors else None
    return last if isinstance(last, BaseException) else None


def _retries(error: BaseException) -> dict[str, Json]:
    """How often a step was tried in vain, and why the last time."""
    last = last_cause(error)
    if last is None:
        return {}
    said = text(last)[:LARGEST_CAUSE_CHARACTERS]
    cause = {"name": _name(last), "message": said, **_public(last)}
    return {"attempts": getattr(error, "max_retries", None), "cause": cause}


def _is_of_retries(error: BaseException) -> bool:
    return type(error) is dbos_error.DBOSMaxStepRetriesExceeded


def _public(error: BaseException) -> dict[str, Json]:
    """The mark that callers may read the message; there is none if they may not."""
    return {"public": True} if is_public(error) else {}


def _shorten(record: dict[str, Json]) -> list[str]:
    """Shorten the members for other languages that are too large; returns which."""
    shortened = {
        member: _shortened(record[member])
        for member in ("name", "message", "code")
        if isinstance(record[member], str) and len(record[member]) > LARGEST_CHARACTERS
    }
    if _is_too_large(record.get("data")):
        shortened["data"] = _shortened(text(record["data"]))
    record |= shortened
    return [f"the whole {member}" for member in shortened]


def _shortened(said: str) -> str:
    return said if len(said) <= LARGEST_CHARACTERS else f"{said[: LARGEST_CHARACTERS - 1]}…"


def _is_too_large(data: Json) -> bool:
    try:
        return len(data if isinstance(data, str) else json.dumps(data)) > LARGEST_CHARACTERS
    except Exception:  # `stored` tells it as text.
        return False


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
    error = made(kind, (record["message"],))
    if "data" in record or str(error) != record["message"] or not can_be_made(kind):
        raise LookupError(record["name"])
    return error
