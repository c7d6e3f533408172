"""Which values survive being JSON, and what is said of those that would not."""

import collections
import dataclasses
import enum
import functools
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from datetime import date, datetime
from decimal import Decimal
from itertools import count
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

import numpy as np
import pydantic
import pytest
from pydantic import BaseModel, ConfigDict, Field, Json, SecretStr, computed_field

from tests.workflows.survivors import LINE, NAIVE, VALUES, Colour, Level, Line, Point, Typed
from worker.children import Forms, Given
from worker.differences import difference
from worker.errors import InvalidArguments, ValueLost
from worker.signatures import RETURNED, arguments_validator
from worker.values import Form, form_of_result, jsonable

T = TypeVar("T")


class Strict(BaseModel):
    """It computes a field, and forbids what it does not know."""

    model_config = ConfigDict(extra="forbid")
    number: int

    @computed_field
    def double(self) -> int:
        return 2 * self.number


class Base(BaseModel):
    number: int


class Stern(BaseModel):
    """It takes no text for what is none, except from JSON."""

    model_config = ConfigDict(strict=True)
    when: datetime
    keys: tuple[UUID, ...]


class Derived(Base):
    more: int = 0


class Renamed(BaseModel):
    written: int = Field(serialization_alias="other")
    read: Json[list[int]]


class Deep(enum.Enum):
    PAIR = (1, 2)


def form(hint: Any) -> Form:
    return Form(hint, "the return hint of charge", config=RETURNED)


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        *VALUES.values(),
        (bytes, b"\xff\x00"),
        (list[bytes], [b"\xff"]),
        (Strict, Strict(number=1)),
        (Renamed, Renamed.model_validate({"written": 1, "read": "[2]"})),
        (str | None, None),
        (str, "\ud800"),
        (list[Line], [LINE]),
        (object, {"a": ["\ud800"]}),
        (collections.deque[Decimal], collections.deque([Decimal("1.0")])),
        (date | datetime, datetime(2026, 1, 1)),
        (date | datetime, date(2026, 1, 1)),
        (complex, 1j),
        (Iterable[int], [1]),
    ],
    ids=count(),
)
def test_what_is_accepted_comes_back(hint: Any, value: Any) -> None:
    """The same to the last digit, and of the same type, or of the one that the hint asks for."""
    stored = form(hint).dump(value, "it")
    back = form(hint).load(stored)

    assert difference(value, back, loose=True) is None
    assert form(hint).dump(back, "it") == stored


@pytest.mark.parametrize(
    ("hint", "value", "back"),
    [
        (float, 3, 3.0),
        (int, True, 1),
        (int, np.int64(3), 3),
        (float, np.float64(0.5), 0.5),
        (bool, np.bool_(True), True),
        (list[bool], [np.bool_(False)], [False]),
        (Decimal, 0, Decimal(0)),
        (Decimal, 0.5, Decimal("0.5")),
        (dict[str, list[Decimal]], {"a": [3]}, {"a": [Decimal(3)]}),
        (set[Decimal], {3}, {Decimal(3)}),
        (Decimal | None, 3, Decimal(3)),
        (Line, Line("lamp", 1, None), Line("lamp", Decimal(1), None)),  # type: ignore[arg-type]
        (int, Decimal(3), 3),
        (float, Decimal("0.5"), 0.5),
        (int | Decimal, Decimal("3.0"), Decimal("3.0")),
        (Decimal | float, Decimal("0.50"), Decimal("0.50")),
        (Decimal | float, 0.5, 0.5),
        (str, Colour.RED, "red"),
        (int, Level.HIGH, 3),
        (dict[str, int], collections.Counter("aab"), {"a": 2, "b": 1}),
        (tuple[int, Decimal], Point(1, Decimal(2)), (1, Decimal(2))),
    ],
    ids=count(),
)
def test_a_hint_makes_a_subclass_its_base(hint: Any, value: Any, back: Any) -> None:
    """And a number another one that is equal: what the hint says is what the caller gets."""
    loaded = form(hint).load(form(hint).dump(value, "it"))

    assert difference(back, loaded, loose=False) is None


KEY = UUID(int=1)

MIDNIGHT = datetime(2026, 1, 1)


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (UUID | str, KEY),
        (UUID | str, "text"),
        (list[UUID | str], [KEY, "text"]),
        (date | str, date(2026, 1, 1)),
        (date | str, "text"),
        (Decimal | str, Decimal("1.10")),
        (datetime | date, MIDNIGHT),
        (datetime | date, date(2026, 1, 1)),
        (date | datetime, MIDNIGHT),
        (date | datetime, date(2026, 1, 1)),
        (Annotated[datetime, pydantic.Strict()], NAIVE),
        (Stern, Stern(when=NAIVE, keys=(KEY,))),
        (Strict, Strict(number=1)),
        (Renamed, Renamed.model_validate({"written": 1, "read": "[2]"})),
        (list[str], ["\ud800"]),
        (Any, {"a": ["\ud800"]}),
    ],
    ids=count(),
)
def test_an_argument_arrives_as_it_was_compared(hint: Any, value: Any) -> None:
    """The check of a `@workflow()` reads it from JSON, as what has stored it has."""
    [back] = arguments_validator(taking(hint))((stored_argument(hint, value),), {})[0]

    assert difference(value, back, loose=False) is None


@pytest.mark.parametrize(
    ("hint", "value"), [(UUID | str, str(KEY)), (date | str, "2026-01-01"), (Decimal | str, "3")]
)
def test_an_argument_that_a_union_cannot_tell_apart_is_refused(hint: Any, value: Any) -> None:
    """As a result is."""
    with pytest.raises(ValueLost):
        stored_argument(hint, value)


def test_what_only_a_foreign_client_sends_is_refused() -> None:
    """A computed field that is not what the model computes, and what it forbids."""
    for stored in ({"number": 1, "double": 3}, {"number": 1, "other": 2}):
        with pytest.raises(InvalidArguments, match="Extra inputs are not permitted"):
            arguments_validator(taking(Strict))((stored,), {})


def test_what_is_not_json_is_read_as_it_is() -> None:
    """A workflow may be stored in the way of DBOS's own."""
    assert arguments_validator(taking(Any))(((1, NAIVE),), {}) == (((1, NAIVE),), {})
    assert arguments_validator(taking(Any))(((1,),), {}) == (((1,),), {})


def taking(hint: Any) -> Callable[..., Any]:
    def function(argument: Any) -> None: ...

    function.__annotations__["argument"] = hint
    return function


def stored_argument(hint: Any, value: Any) -> Any:
    return Forms(taking(hint)).dumped(Given((value,), {}), "it").args[0]


SAYS = "make it what the return hint of charge says, "


@pytest.mark.parametrize(
    ("hint", "value", "problem"),
    [
        (Any, Decimal("1.10"), "is a Decimal that would come back as a str: the return hint of"),
        (Any, {"a": [NAIVE]}, "has a datetime at ['a'][0] that would come back as a str"),
        (Any, (1,), "is a tuple that would come back as a list"),
        (Any, {1: "a"}, "has an int at [a key] that would be lost"),
        (Any, Level.HIGH, "is a Level that would come back as an int"),
        (Any, [Colour.RED], "has a Colour at [0] that would come back as a str"),
        (Any, np.float64(1), "is a float64 that would come back as a float"),
        (Any, LINE, "is a Line that would come back as a dict"),
        (T, {3}, "is a set that would come back as a list"),
        (bytearray, bytearray(b"a"), "it cannot be used: Unable to generate pydantic-core schema"),
        (int, "three", "is a str that does not fit (Input should be a valid integer, unable to"),
        (int, "3", f"is a str that would come back as an int: {SAYS}int"),
        (Decimal, 0.1, "is a float that would come back as a Decimal"),
        (float, Decimal("0.1"), "is a Decimal that would come back as a float"),
        (bool, 1, "is an int that would come back as a bool"),
        (None, 3, "is an int that does not fit (Input should be null)"),
        (date, NAIVE, "is a datetime that does not fit"),
        (Decimal | str, "1.10", "as a Decimal: JSON cannot tell apart what the return hint of"),
        (list, (1,), f"is a tuple that would come back as a list: {SAYS}list"),
        (list, [NAIVE], "come back as a str: the return hint of charge has to give a type to what"),
        (bytes | str, "YQ==", "is a str that would come back as a bytes"),
        (UUID | str, str(UUID(int=1)), "is a str that would come back as a UUID"),
        (dict, {1: "a"}, "[a key]"),
        (dict[str, Any], {"a": NAIVE}, f"come back as a str: {SAYS}dict[str, typing.Any]"),
        (list[int], (1,), "is a tuple that would come back as a list"),
        (Sequence[int], (1,), "is a tuple that would come back as a list"),
        (Base, Derived(number=1), "is a Derived that would come back as a Base"),
        (Base, {"number": 1}, "is a dict that would come back as a Base"),
        (SecretStr, SecretStr("a"), "is a SecretStr that would come back changed"),
        (Deep, Deep.PAIR, "is a Deep that does not fit"),
    ],
    ids=count(),
)
def test_what_would_come_back_changed_is_refused(hint: Any, value: Any, problem: str) -> None:
    """By a sentence that says what it is, where, and what to do about it."""
    with pytest.raises(ValueLost) as refused:
        form(hint).dump(value, "the result of the step 'charge'")

    assert str(refused.value).startswith("the result of the step 'charge' ")
    assert problem in str(refused.value)
    assert "the return hint of charge" in str(refused.value)


@pytest.mark.parametrize(
    ("value", "start"),
    [
        (math.nan, "NaN is not portable JSON: it is a float; "),
        ([-math.inf], "-Infinity is not portable JSON: it is a list; "),
        (object(), "Object of type object is not portable JSON serializable: it is an object; "),
        (np.int64(1), "Object of type int64 is not portable JSON serializable: it is an int64; "),
    ],
    ids=count(),
)
def test_what_is_no_json_is_refused_as_dbos_does(value: Any, start: str) -> None:
    """With the same class and the same words first, whatever the hint."""
    for dump in (form(Any).dump, form(float).dump if isinstance(value, float) else jsonable):
        with pytest.raises((TypeError, ValueError)) as refused:
            dump(value, "it")

        assert str(refused.value).startswith(start)
        assert isinstance(refused.value.__cause__, ValueLost)


@pytest.mark.parametrize(
    ("hint", "stored", "value"),
    [
        (datetime, "2026-02-03T04:05:06.789Z", "2026-02-03 04:05:06.789000+00:00"),
        (Decimal, "1.10", "1.10"),
        (set[int], [3], "{3}"),
        (int, "three", "three"),
        (Line, {"unknown": 1}, "{'unknown': 1}"),
    ],
    ids=count(),
)
def test_what_others_have_recorded_is_read(hint: Any, stored: Any, value: str) -> None:
    """Also what does not fit, since the first execution was given it, too."""
    assert str(form(hint).load(stored)) == value


def test_a_forgotten_await_is_told() -> None:
    """It is the first mistake in async code, and the type of a coroutine says nothing of it."""

    async def step() -> int:
        return 1

    with closing(step()) as forgotten, pytest.raises(ValueLost, match=r"a coroutine .*: await it$"):
        form(int).dump(forgotten, "the result")


def test_what_is_accepted_is_a_copy() -> None:
    """A later execution cannot share a list with anybody, so the first one does not."""
    given = {"a": [1]}

    stored = form(Any).dump(given, "it")
    given["a"].append(2)

    assert stored == {"a": [1]}


class Callables:
    """All that can be called."""

    def __call__(self) -> Decimal:
        raise NotImplementedError

    def method(self) -> "Decimal":
        raise NotImplementedError

    @classmethod
    def of_class(cls) -> Decimal:
        raise NotImplementedError

    @staticmethod
    def static() -> Decimal:
        raise NotImplementedError


def later() -> "Later":
    raise NotImplementedError


class Later(BaseModel):
    """It is defined after what is hinted with it."""


def unresolvable() -> "Missing": ...  # type: ignore[name-defined] # noqa: F821


async def awaited() -> Decimal:
    raise NotImplementedError


@pytest.mark.parametrize(
    "function",
    [
        Callables(),
        Callables().method,
        Callables.of_class,
        Callables().static,
        functools.partial(Callables().method),
        functools.wraps(functools.partial(Callables().method))(lambda: None),
        functools.wraps(Decimal)(lambda: None),
        awaited,
        Decimal,
    ],
    ids=count(),
)
def test_whatever_can_be_called_has_a_hint(function: Callable[..., Any]) -> None:
    """Methods and objects, partial functions, coroutines; a class returns itself."""
    found = form_of_result(function)

    assert repr(found.load("1.10")) == "Decimal('1.10')"


def test_hints_are_resolved_when_they_are_needed() -> None:
    """One that cannot be is as none, and the refusal says so."""
    with pytest.raises(ValueLost) as refused:
        form_of_result(unresolvable).dump((1,), "it")

    assert form_of_result(later).load({}) == Later()
    assert form_of_result(unresolvable).dump([1], "it") == [1]
    assert "(it cannot be resolved: name 'Missing' is not defined)" in str(refused.value)
    assert not form_of_result(time_of_day).typed


def time_of_day():  # type: ignore[no-untyped-def]
    """No hints at all."""


def test_the_order_of_a_union_decides() -> None:
    """Though unions are equal in any order."""
    assert form(Decimal | str).load("1") == Decimal(1)
    assert form(Decimal | int).load(1) == form(int | Decimal).load(1) == 1


@dataclasses.dataclass
class Holder:
    """With a value that it computes once."""

    number: int

    @functools.cached_property
    def double(self) -> int:
        return 2 * self.number


def test_what_is_given_besides_is_not_lost_unseen() -> None:
    """An attribute that is no field; but what is computed may be computed again."""
    holder = Holder(1)
    assert holder.double == 2
    assert form(Holder).dump(holder, "it") == {"number": 1}

    holder.more = 3  # type: ignore[attr-defined]

    with pytest.raises(ValueLost, match=r"has an int at .more that would be lost"):
        form(Holder).dump(holder, "it")


@pytest.mark.parametrize(
    ("hint", "value", "announced"),
    [
        (Renamed, Renamed.model_validate({"written": 1, "read": "[2]"}), {"other": 1, "read": [2]}),
        (Base, Derived(number=1), {"number": 1}),
        (SecretStr, SecretStr("a"), "**********"),
        (Sequence[int], (1,), [1]),
        (Any, (Decimal(1), NAIVE), ["1", "2026-02-03T04:05:06.789012"]),
        (Strict, Strict(number=1), {"number": 1, "double": 2}),
    ],
    ids=count(),
)
def test_what_nobody_loads_is_stored_as_announced(hint: Any, value: Any, announced: Any) -> None:
    """The result of a workflow that no other has started."""
    assert form(hint).announce(value, "it") == announced


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (int, "three"),
        (int, "3"),
        (list[int], (1,)),
        (Literal["a"], "b"),
        (Annotated[int, Field(ge=3)], 1),
        (Typed, {"price": Decimal(1), "when": NAIVE, "more": 1}),
        (Base, {"number": 1}),
    ],
    ids=count(),
)
def test_what_is_not_as_announced_is_refused(hint: Any, value: Any) -> None:
    """Whether anybody loads it or not."""
    with pytest.raises(ValueLost, match="make it what the return hint of charge says"):
        form(hint).announce(value, "it")


def test_any_value_is_told_as_json() -> None:
    """Events and messages: whoever reads them gets JSON, in any language."""
    told = jsonable({"at": NAIVE, "lines": (LINE,), "colour": Colour.RED, "set": {3}}, "it")

    assert told == {
        "at": "2026-02-03T04:05:06.789012",
        "lines": [{"sku": "lamp", "price": "1.10", "until": "2026-02-03"}],
        "colour": "red",
        "set": [3],
    }
