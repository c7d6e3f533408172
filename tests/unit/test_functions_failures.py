"""What callers get of a stored error."""

from itertools import count
from typing import Any

import pytest

from functions.failures import MOST_MESSAGE_CHARACTERS, failure

SECRET = "insert into card values ('4111')"


def hidden(name: str, reference: str) -> dict[str, Any]:
    """What is shown of an error whose message is not."""
    message = f"The log of its worker has the reason, under the reference {reference!r}."
    return {"name": name, "message": message, "reference": reference}


def test_a_public_message_is_shown_as_it_is() -> None:
    """Without the members that only workers read."""
    record = {"name": "OutOfStock", "message": "none left\n", "public": True, "data": SECRET}

    assert failure(record, "id") == {"name": "OutOfStock", "message": "none left\n"}


@pytest.mark.parametrize("public", [None, False, 1, "true", [True], {"public": True}], ids=count())
def test_only_true_is_the_mark(public: Any) -> None:
    """What other rows may hold in its place is none."""
    record = {"name": "OSError", "message": SECRET, "public": public}

    assert failure(record, "id") == hidden("OSError", "id")
    assert failure({"name": "OSError", "message": SECRET}, "id") == hidden("OSError", "id")


@pytest.mark.parametrize("message", [None, 1, ["a"], {"a": "b"}], ids=count())
def test_a_message_that_is_no_text_is_not_shown(message: Any) -> None:
    """Whatever the mark says."""
    assert failure({"name": "A", "message": message, "public": True}, "id") == hidden("A", "id")


@pytest.mark.parametrize("record", [None, 1, "text", [], {}, {"public": True}], ids=count())
def test_a_row_without_name_and_message_is_an_error(record: Any) -> None:
    """As what is no portable JSON."""
    assert failure(record, "id", 1) == hidden("Error", "id/1")


@pytest.mark.parametrize("name", ["OSError", "org.shop.OutOfStock$Book", "Größe", "x" * 100])
def test_names_of_classes_are_shown(name: str) -> None:
    """In any language."""
    assert failure({"name": name, "message": SECRET}, "id") == hidden(name, "id")


@pytest.mark.parametrize(
    "name", [None, 1, ["a"], "", "x" * 101, SECRET, "a\n", "a\x1b[2J", "\u202ea", "1a", "a-b"]
)
def test_what_is_no_name_of_a_class_is_not_shown(name: Any) -> None:
    """Code may give an error any name, also a message."""
    assert failure({"name": name, "message": SECRET}, "id") == hidden("Error", "id")


def test_a_huge_public_message_is_cut() -> None:
    """An answer stays small."""
    record = {"name": "A", "message": "x" * 10**6, "public": True}

    message = failure(record, "id")["message"]

    assert message == "x" * MOST_MESSAGE_CHARACTERS + "..."


def test_the_reference_of_a_workflow_leads_to_its_step() -> None:
    """As its worker has stored it; a step has its own number."""
    record = {"name": "OSError", "message": SECRET, "step": 3}

    assert failure(record, "id") == hidden("OSError", "id/3")
    assert failure(record, "id", 4) == hidden("OSError", "id/4")


@pytest.mark.parametrize("step", [None, 0, -1, True, 1.0, "3", [3], 2**31], ids=count())
def test_what_is_no_number_of_a_step_is_not_referred_to(step: Any) -> None:
    """The workflow is."""
    record = {"name": "OSError", "message": SECRET, "step": step}

    assert failure(record, "id") == hidden("OSError", "id")


@pytest.mark.parametrize(
    ("cause", "shown"),
    [
        ({"name": "OSError", "message": SECRET}, hidden("OSError", "id/2")),
        (
            {"name": "Declined", "message": "no money", "public": True},
            {"name": "Declined", "message": "no money"},
        ),
        ({"name": SECRET, "cause": {"cause": {}}}, hidden("Error", "id/2")),
    ],
    ids=count(),
)
def test_the_cause_has_a_mark_of_its_own(cause: Any, shown: Any) -> None:
    """That a step was retried in vain may be shown, but not always why."""
    record = {"name": "Retries", "message": "3 times", "public": True}

    answer = failure(record | {"attempts": 3, "cause": cause}, "id", 2)

    assert answer == {"name": "Retries", "message": "3 times", "attempts": 3, "cause": shown}


@pytest.mark.parametrize(
    "members",
    [{"cause": {}}, {"attempts": 3}, {"attempts": "3", "cause": {}}, {"attempts": 3, "cause": 1}],
    ids=count(),
)
def test_a_cause_that_is_none_is_left_out(members: dict[str, Any]) -> None:
    """Other rows may hold anything."""
    assert failure({"name": "A", "message": "a"} | members, "id") == hidden("A", "id")
