"""Values that survive a takeover: what a caller gets is read back from JSON, the first time, too.

DBOS gives a caller what a function has returned, and after a takeover what JSON has made of it.
Here both are read from the JSON that is stored, by the type hint; what JSON would not keep is
refused before it is stored.
"""

import functools
import inspect
import json
import logging
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_json
from pydantic_core.core_schema import ErrorType

from .differences import MISSING, Difference, a, difference
from .errors import ValueLost, ValueTooLarge, ValueUnwritten
from .limits import Limit
from .signatures import RETURNED, first_line, resolved, type_adapter

KEPT = (type(None), bool, int, str)
"""Types of which JSON keeps every value."""

HOLDERS = (list, tuple, set, frozenset, dict)
"""Hints that say nothing of what is inside."""

Extra = Literal["allow", "ignore", "forbid"] | None

HINTS = 1000
"""Hints whose adapters are kept; programs have fewer, unless they make types as they go."""

NOT_JSON = (TypeError, ValueError)
"""What DBOS raises for what is no portable JSON."""

BY_PYDANTIC = {*get_args(ErrorType)} - {"value_error", "assertion_error"}
"""Errors that pydantic words itself; those of validators say whatever their code says."""

Reason = Difference | Exception

logger = logging.getLogger("worker")


class Form:
    """The JSON form of what a hint describes: `dump` makes it, `load` reads it.

    `owner` is what has the hint, and `reason` why it has none that could be used.
    """

    def __init__(
        self, hint: Any, owner: str, *, reason: str = "", config: ConfigDict | None = None
    ) -> None:
        self.owner = owner
        self._hint = hint
        self._adapter, unusable = (None, reason) if reason else _adapter_of(hint, config)
        self._reason = f" ({unusable})" if unusable else ""
        self._kept = KEPT if self._adapter is None else _kept(hint)

    @property
    def typed(self) -> bool:
        """Whether the hint says what to expect."""
        return self._adapter is not None

    def dump(self, value: Any, what: str, limit: Limit | None = None) -> Any:
        """The JSON value that is stored for `value`, from which `load` makes it again.

        Raises ValueLost, which names `what` it is, its type and the remedy; TypeError or
        ValueError if it is no JSON; ValueTooLarge if it exceeds the limit.
        """
        if type(value) in self._kept:
            return value if limit is None else limit.checked(value, what)
        reasons: list[Reason] = []
        for encode in self._encoders():
            try:
                text = encode(value)
                stored = json.loads(text, parse_constant=_refuse)
                lost = difference(value, self._decode(text), loose=self.typed)
            except Exception as error:  # A type's own hooks may raise anything.
                reasons.append(error)
            else:
                if lost is None:
                    return stored if limit is None else limit.checked(stored, what, text)
                reasons.append(lost)
        raise refusal(value, what, reasons[0], self._remedy(value, reasons[0]))

    def announce(self, value: Any, what: str, limit: Limit | None = None) -> Any:
        """The JSON value that the published schema announces for `value`; nobody loads it again.

        So models may write other names than they read, and hide what is secret. Raises what
        `dump` raises.
        """
        if self._adapter is None:
            return jsonable(value, what, limit)
        try:
            self._adapter.validate_python(value)
            text = self._adapter.dump_json(value, by_alias=True, warnings="error")
            announced = json.loads(text, parse_constant=_refuse)
            is_whole = not self._drops(value, text)
        except Exception:  # A type's own hooks may raise anything.
            is_whole = False
        if not is_whole:
            return self.dump(value, what, limit)
        return announced if limit is None else limit.checked(announced, what, text)

    def load(self, stored: Any) -> Any:
        """What a stored JSON value stands for.

        What does not fit the hint is given as it was recorded: by a worker of the release before,
        or when the hint was another.
        """
        try:
            return self.check(stored)
        except Exception as error:  # A type's own hooks may raise anything.
            logger.warning("what was recorded does not fit %s: %s", self.owner, told(error))
            return stored

    def fits(self, stored: Any) -> bool:
        """Whether a JSON value fits the hint."""
        try:
            self.check(stored)
        except Exception:  # A type's own hooks may raise anything.
            return False
        return True

    def check(self, stored: Any, extra: Extra = None) -> Any:
        """What a stored JSON value stands for; raises what pydantic raises if it does not fit."""
        if self._adapter is None or type(stored) in self._kept:
            return stored
        return self._decode(json.dumps(stored).encode(), extra)

    def _encoders(self) -> Iterator[Callable[[Any], bytes]]:
        if self._adapter is None:
            yield encoded
            return
        dump = functools.partial(self._adapter.dump_json, warnings=False)
        yield functools.partial(dump, by_alias=True)
        # Models that read other names than they write know those of their fields, too.
        yield functools.partial(dump, by_alias=False, round_trip=True)

    def _drops(self, value: Any, text: bytes) -> bool:
        """Whether a part of a value is not in its JSON, as what a TypedDict does not name."""
        with suppress(Exception):  # A type's own hooks may raise anything.
            lost = difference(value, self._decode(text), loose=True)
            return lost is not None and lost.kept is MISSING
        return False

    def _decode(self, text: bytes, extra: Extra = None) -> Any:
        if self._adapter is None:
            return json.loads(text)
        validate = functools.partial(self._adapter.validate_json, text, by_alias=True, by_name=True)
        try:
            return validate(extra=extra)
        except ValidationError as error:
            if all(each["type"] == "extra_forbidden" for each in error.errors()):
                return validate(extra="ignore")  # Computed fields, which are written only.
            raise

    def _remedy(self, value: Any, reason: Reason) -> str:
        if self._adapter is None:
            return f"{self.owner} has to say what it is{self._reason}"
        if isinstance(reason, Difference) and type(reason.kept) is not type(reason.value):
            if reason.path and reason.kept is not MISSING and self._hint in HOLDERS:
                return f"{self.owner} has to give a type to what the {self._hint.__name__} holds"
            if not reason.path and type(value) in _either(self._hint):
                return f"JSON cannot tell apart what {self.owner} names, {self._hint}: name one"
        hint = self._hint if get_args(self._hint) else getattr(self._hint, "__name__", "")
        return f"make it what {self.owner} says, {hint or self._hint}, or have that say it"


def jsonable(value: Any, what: str, limit: Limit | None = None) -> Any:
    """What a value is in JSON, by its own type; raises what `Form.dump` raises."""
    try:
        text = encoded(value)
        stored = json.loads(text, parse_constant=_refuse)
    except Exception as error:  # A type's own hooks may raise anything.
        reason = error
    else:
        return stored if limit is None else limit.checked(stored, what, text)
    raise refusal(value, what, reason, "make it JSON, a dataclass or a pydantic model")


def encoded(value: Any) -> bytes:
    """The JSON text of a value, by its own type."""
    unknown: list[str] = []

    def fallback(part: Any) -> Any:
        if isinstance(part, Mapping):
            return dict(part)
        unknown.append(type(part).__name__)
        raise TypeError

    try:
        return to_json(value, inf_nan_mode="constants", fallback=fallback)
    except PydanticSerializationError:
        if unknown:
            message = f"Object of type {unknown[0]} is not portable JSON serializable"
            raise TypeError(message) from None
        return json.dumps(value).encode()  # Half a character is no UTF-8, but an escape of JSON.


def refusal(value: Any, what: str, reason: Reason, remedy: str) -> Exception:
    """The error that tells why a value is refused.

    It begins as DBOS's own does if DBOS would have refused the value, too.
    """
    has = f"is {a(type(value).__name__)}"
    if inspect.iscoroutine(value):
        remedy = "await it"
    if isinstance(reason, ValidationError):
        problem = f"{has} that does not fit ({told(reason)})"
    elif isinstance(reason, Exception):
        problem = f"{has} that JSON cannot hold ({told(reason)})"
    else:
        problem = str(reason)
    if not isinstance(reason, NOT_JSON) or "portable JSON" not in str(reason):
        kind = ValueUnwritten if _is_of_code(reason) else ValueLost
        return kind(what=what, problem=problem, remedy=remedy)
    error: Exception = type(reason)(f"{reason}: {what} {has}; {remedy}")
    error.__cause__ = ValueLost(what=what, problem=problem, remedy=remedy)
    return error


def _is_of_code(reason: Reason) -> bool:
    """Whether a type's own code says why, which may be anything."""
    if isinstance(reason, ValidationError):
        return reason.errors(include_url=False)[0]["type"] not in BY_PYDANTIC
    return isinstance(reason, Exception)


def is_refusal(error: BaseException) -> bool:
    """Whether a value was refused, which it would be again."""
    refused = ValueLost, ValueTooLarge
    return isinstance(error, refused) or isinstance(error.__cause__, ValueLost)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not portable JSON")


def form_of_result(function: Any) -> Form:
    """The form of what a function returns, or whatever else can be called."""
    while inner := _inner(function):
        function = inner
    name = getattr(function, "__qualname__", type(function).__qualname__)
    owner = f"the return hint of {name}"
    if isinstance(function, type):
        return Form(function, owner, config=RETURNED)
    if not inspect.isroutine(function):
        function = type(function).__call__
    return hinted(function, "return", owner, config=RETURNED)


def _inner(function: Any) -> Any:
    """What a function without a hint of its own calls."""
    if isinstance(function, functools.partial):
        return function.func
    hints = getattr(function, "__annotations__", {})
    return None if "return" in hints else getattr(function, "__wrapped__", None)


def hinted(function: Any, name: str, owner: str, *, config: ConfigDict | None = None) -> Form:
    """The form that the annotation `name` of a function describes."""
    annotations = getattr(function, "__annotations__", {})
    if name not in annotations:
        return Form(Any, owner)
    try:
        hint = resolved(annotations[name], function)
    except Exception as error:  # It may name what is not there when the program runs.
        return Form(Any, owner, reason=f"it cannot be resolved: {told(error)}")
    return Form(hint, owner, config=config)


def told(error: Exception) -> str:
    """What an error says, in one line and without the value."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        at = "".join(f"[{step!r}]" for step in first["loc"])
        return f"at {at}: {first['msg']}" if at else first["msg"]
    return first_line(error)


def _either(hint: Any) -> tuple[Any, ...]:
    """What a union names."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else ()


def _kept(hint: Any) -> tuple[type, ...]:
    """The types that a hint allows and JSON keeps, if there are no others."""
    hints = _either(hint) or (hint,)
    return tuple(each for each in KEPT if each in hints) if set(hints) <= set(KEPT) else ()


Adapter = tuple[TypeAdapter[Any] | None, str]


def _adapter_of(hint: Any, config: ConfigDict | None) -> Adapter:
    """What dumps and loads the values of a hint; without one, why there is none."""
    if hint is Any or hint is object or isinstance(hint, TypeVar):
        return None, ""
    if hint is Iterable or get_origin(hint) is Iterable:  # Pydantic would make a generator of it.
        hint = types.GenericAlias(Sequence, get_args(hint) or (Any,))
    # Two unions are equal in any order, and have not the same text; the order may decide.
    arguments = hint, repr(hint), config is RETURNED
    try:
        return _adapter(*arguments)
    except TypeError:  # Not every hint can be hashed.
        return _adapter.__wrapped__(*arguments)


@functools.lru_cache(HINTS)
def _adapter(hint: Any, _text: str, returned: bool) -> Adapter:
    try:
        return type_adapter(hint, RETURNED if returned else None), ""
    except Exception as error:  # A type's own hooks may raise anything.
        return None, f"it cannot be used: {told(error).partition('. ')[0]}"
