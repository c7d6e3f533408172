"""The check of arguments against a published schema."""

from typing import Any

import pytest

from functions.arguments import (
    MAX_ERRORS,
    MAX_EXPLAINED_VALUES,
    UNEXPLAINED,
    check,
    compiled,
)
from functions.errors import InvalidArguments

INTEGER = {"type": "integer"}

OPTIONAL = {"anyOf": [INTEGER, {"type": "null"}]}

SCHEMA = {
    "type": "object",
    "properties": {
        "optional": OPTIONAL,
        "many": {"type": "array", "items": OPTIONAL},
        "either": {"anyOf": [INTEGER, {"type": "array"}]},
        "moment": {"type": "string", "format": "date-time"},
        "clock": {"type": "string", "format": "time"},
        "key": {"type": "string", "format": "uuid"},
    },
    "additionalProperties": False,
}


def errors(**arguments: Any) -> list[tuple[str, str]]:
    """What is wrong with the arguments, as pointers and messages."""
    try:
        check({"": arguments}, compiled(SCHEMA))
    except InvalidArguments as error:
        return [(each["pointer"], each["message"]) for each in vars(error)["errors"]]
    return []


def test_an_optional_argument_tells_what_it_wants() -> None:
    """Not only that no choice fits."""
    assert errors(optional=1.5) == [("/optional", '1.5 is not of type "integer"')]
    assert errors(many=[1, None, "x"]) == [("/many/2", '"x" is not of type "integer"')]


def test_a_choice_is_refused_as_a_whole() -> None:
    """There is no telling which one was meant."""
    [(pointer, message)] = errors(either="x")

    assert pointer == "/either"
    assert "anyOf" in message


@pytest.mark.parametrize(
    "arguments",
    [
        {"moment": "2026-11-22T12:00:00Z"},
        {"moment": "2026-11-22T12:00:00"},
        {"clock": "12:00:00"},
        {"key": "6ba7b8109dad11d180b400c04fd430c8"},
        {"optional": None},
    ],
)
def test_what_a_worker_takes_is_taken(arguments: dict[str, Any]) -> None:
    """Also what RFC 3339 alone would refuse."""
    assert errors(**arguments) == []


@pytest.mark.parametrize(
    "arguments", [{"moment": "tomorrow"}, {"clock": "25:00"}, {"key": "key"}, {"key": 1}]
)
def test_what_no_worker_takes_is_refused(arguments: dict[str, Any]) -> None:
    """Formats are checked, too."""
    assert len(errors(**arguments)) == 1


def test_errors_are_limited() -> None:
    """However many there are."""
    assert len(errors(many=["x"] * 900)) == MAX_ERRORS


def test_it_is_not_told_where_a_call_of_many_values_is_wrong() -> None:
    """Each error of each type that a value may have would be made, for all values."""
    assert errors(many=["x"] * MAX_EXPLAINED_VALUES) == [("", UNEXPLAINED)]
    assert errors(many=[[[]] * MAX_EXPLAINED_VALUES]) == [("", UNEXPLAINED)]


def test_a_long_text_is_one_value() -> None:
    """So it is told what else is wrong with a call that has one."""
    assert [pointer for pointer, _ in errors(text="x" * 1_000_000, optional=1.5)] == [
        "/optional",
        "/text",
    ]


def test_calls_of_a_batch_are_explained_up_to_a_limit_for_all() -> None:
    """Those that fit do not count."""
    calls = {
        "/0": {"many": [None] * MAX_EXPLAINED_VALUES},
        "/1": {"many": [1] * (MAX_EXPLAINED_VALUES // 2) + ["x"]},
        "/2": {"many": [1] * (MAX_EXPLAINED_VALUES // 2) + ["x"]},
    }

    with pytest.raises(InvalidArguments) as caught:
        check(calls, compiled(SCHEMA))

    told = [(each["pointer"], each["message"]) for each in vars(caught.value)["errors"]]
    assert told == [("/1/many/500", '"x" is not of type "integer"'), ("/2", UNEXPLAINED)]
