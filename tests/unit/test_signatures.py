"""What signatures say to callers and to the worker."""

import datetime
import enum
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from worker.errors import (
    InexpressibleArgument,
    InexpressibleResult,
    InexpressibleSignal,
    InvalidArguments,
)
from worker.signatures import (
    arguments_schema,
    arguments_validator,
    result_schema,
    signal_schema,
)


class Opaque:
    """A class without a schema."""


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Item:
    sku: str
    quantity: int = 1


class Address(BaseModel):
    street: str


def expressible(
    name: str,
    count: Annotated[int, Field(ge=1, description="how many")] = 1,
    *,
    colour: Colour = Colour.RED,
    speed: Literal["slow", "fast"] = "slow",
    when: datetime.datetime | None = None,
    items: list[Item] | None = None,
    address: Address | None = None,
    anything: Any = None,
    copy: bool = False,
    model_config: str = "",
    _private: int = 0,
) -> dict[str, int]:
    return {}


def test_the_schema_has_exactly_the_arguments_in_their_order() -> None:
    """Names that pydantic's models reserve are names like any other."""
    schema = arguments_schema(expressible)

    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["name"]
    assert list(schema["properties"]) == [
        *("name", "count", "colour", "speed", "when", "items", "address", "anything"),
        *("copy", "model_config", "_private"),
    ]


def test_constraints_and_descriptions_are_kept() -> None:
    """`Annotated` with a `Field` says more than the type."""
    assert arguments_schema(expressible)["properties"]["count"] == {
        "default": 1,
        "description": "how many",
        "minimum": 1,
        "title": "Count",
        "type": "integer",
    }


def test_a_default_that_is_not_json_is_left_out() -> None:
    """The argument stays optional; the function knows its default."""

    def odd(values: list[int] = object()) -> None:  # type: ignore[assignment]  # noqa: B008
        pass

    assert arguments_schema(odd)["properties"]["values"].keys() == {"title", "type", "items"}


def opaque(known: str, other: Opaque) -> None:
    pass


def function(known: str, other: Callable[[int], int]) -> None:
    pass


def undefined(known: str, other: "Missing") -> None:  # type: ignore[name-defined]  # noqa: F821
    pass


def positional(other: str, /, known: str) -> None:
    pass


def starred(known: str, *other: str) -> None:
    pass


def keywords(known: str, **other: str) -> None:
    pass


def options(known: str, options: str) -> None:
    pass


def infinite(known: str, other: float = math.inf) -> None:
    pass


def pattern(known: str, other: Annotated[str, Field(pattern="(")]) -> None:
    pass


def surrogate(known: str, other: str = "\ud800") -> None:
    pass


def aliased(known: str, other: Annotated[int, Field(alias="another")]) -> None:
    pass


def defaulted(known: str, other: Annotated[int, Field(default=1)]) -> None:
    pass


def misspelt(known: str, other: "datetime.nope") -> None:  # type: ignore[name-defined]
    pass


def unannotated(known: str, other) -> None:  # type: ignore[no-untyped-def]
    pass


def preset(known: str, other: int = "one") -> None:  # type: ignore[assignment]
    pass


def absent(known: str, other: str = None) -> None:  # type: ignore[assignment]  # noqa: RUF013
    pass


def bounded(known: str, other: Annotated[int, Field(ge=1)] = 0) -> None:
    pass


class Hostile:
    """A type whose own hook fails without a word."""

    @classmethod
    def __get_pydantic_core_schema__(cls, *_: Any) -> Any:
        raise KeyError


def hostile(known: str, other: Hostile) -> None:
    pass


@pytest.mark.parametrize(
    ("refused", "parameter"),
    [
        (opaque, "other"),
        (function, "other"),
        (undefined, "other"),
        (positional, "other"),
        (starred, "other"),
        (keywords, "other"),
        (infinite, "other"),
        (pattern, "other"),
        (surrogate, "other"),
        (aliased, "other"),
        (defaulted, "other"),
        (misspelt, "other"),
        (hostile, "other"),
        (unannotated, "other"),
        (preset, "other"),
        (absent, "other"),
        (bounded, "other"),
        (options, "options"),
    ],
)
def test_what_has_no_schema_is_refused_by_name(refused: Callable[..., Any], parameter: str) -> None:
    """The sentence names the function, where it is, and the parameter."""
    with pytest.raises(InexpressibleArgument) as raised:
        arguments_schema(refused)

    message = str(raised.value)
    place = f"tests/unit/test_signatures.py:{refused.__code__.co_firstlineno}"
    function = f"{__name__}.{refused.__name__}"
    assert message.startswith(f"{place}: {function}: the parameter '{parameter}'")
    assert "\n" not in message


def test_the_result_has_a_schema() -> None:
    """It is what callers will get, as JSON."""
    assert result_schema(expressible) == {
        "additionalProperties": {"type": "integer"},
        "type": "object",
    }


def test_a_result_without_a_type_may_be_anything() -> None:
    """No annotation allows everything."""

    def untyped():  # type: ignore[no-untyped-def]
        pass

    assert result_schema(untyped) == {}


def test_a_result_without_a_schema_is_refused() -> None:
    """The sentence names the function."""

    def returns_opaque() -> Opaque:
        return Opaque()

    with pytest.raises(InexpressibleResult, match=r"returns_opaque: its return type"):
        result_schema(returns_opaque)


@pytest.mark.parametrize(
    ("topic", "hint"),
    [("a/b", bool), ("", bool), (" ", bool), ("x" * 256, bool), ("fine", Opaque)],
)
def test_a_signal_that_cannot_be_sent_is_refused(topic: str, hint: Any) -> None:
    """The sentence names the function and the topic."""
    with pytest.raises(InexpressibleSignal, match=f"expressible: its signal '{topic}'"):
        signal_schema(expressible, topic, hint)


def test_a_signal_has_the_schema_of_its_type() -> None:
    """As arguments have."""
    assert signal_schema(expressible, "go", bool) == {"type": "boolean"}


def test_valid_arguments_become_what_the_hints_say() -> None:
    """By position or by name, as any client may send them."""
    args, kwargs = arguments_validator(expressible)(
        ("x", 2), {"when": "2026-11-22T12:00:00Z", "colour": "red", "items": [{"sku": "a"}]}
    )

    assert args == ("x", 2)
    assert kwargs == {
        "when": datetime.datetime(2026, 11, 22, 12, tzinfo=datetime.UTC),
        "colour": Colour.RED,
        "items": [Item("a", 1)],
    }


@pytest.mark.parametrize(
    ("args", "kwargs", "problem"),
    [
        ((), {}, "missing a required argument: 'name'"),
        (("x",), {"other": 1}, "got an unexpected keyword argument 'other'"),
        (("x", 0), {}, "count: Input should be greater than or equal to 1"),
        ((1,), {}, "name: Input should be a valid string"),
    ],
)
def test_wrong_arguments_are_one_clear_line(
    args: tuple[Any, ...], kwargs: dict[str, Any], problem: str
) -> None:
    """Constraints count for clients that bypass the functions, too."""
    with pytest.raises(InvalidArguments) as raised:
        arguments_validator(expressible)(args, kwargs)

    assert str(raised.value).endswith(f"expressible was called with wrong arguments: {problem}")


def test_bytes_are_announced_as_they_are_stored() -> None:
    """A result as base64, which holds any; an argument as text."""

    def function(data: bytes) -> bytes:
        return data

    assert result_schema(function)["format"] == "base64url"
    assert arguments_schema(function)["properties"]["data"]["format"] == "binary"


class Elsewhere(BaseModel):
    model_config = ConfigDict(json_schema_extra={"$ref": "https://example.com/order.json"})
    name: str


class Reference(BaseModel):
    """A model that speaks of references, and has none."""

    reference: Annotated[str, Field(alias="$ref", examples=[{"$ref": "https://example.com"}])] = ""
    above: "Reference | None" = None


def takes_elsewhere(known: str, other: Elsewhere) -> None:
    pass


def gives_elsewhere() -> list[Elsewhere]:
    return []


def takes_reference(other: Reference) -> None:
    pass


OUTSIDE = r"its \$ref 'https://example.com/order.json' does not begin with #"


def test_a_reference_to_elsewhere_is_refused() -> None:
    """Nobody fetches what it leads to; the sentence names the function."""
    with pytest.raises(InexpressibleArgument, match=rf"\.takes_elsewhere: .*'other'.*{OUTSIDE}"):
        arguments_schema(takes_elsewhere)
    with pytest.raises(InexpressibleResult, match=rf"\.gives_elsewhere: .*{OUTSIDE}"):
        result_schema(gives_elsewhere)
    with pytest.raises(InexpressibleSignal, match=rf"\.takes_reference: .*'topic'.*{OUTSIDE}"):
        signal_schema(takes_reference, "topic", dict[str, Elsewhere])


def test_what_only_looks_like_a_reference_is_published() -> None:
    """A property of that name, an example; and references that begin with `#`."""
    schema = arguments_schema(takes_reference)

    assert "$ref" in schema["$defs"]["Reference"]["properties"]
