"""The rows of the benchmark: medians, spreads, ratios round by round, goals."""

import pytest

from local_dev.bench.figures import Figure, Goal, Table, in_turns, number

ROUNDS = Figure("group", "name", "ms", [2.0, 8.0, 3.0], [1.0, 2.0, 3.0], "other")


def test_a_ratio_compares_the_same_round() -> None:
    """What the machine does meanwhile meets both."""
    assert ROUNDS.ratios == [2.0, 4.0, 1.0]
    assert ROUNDS.as_json()["ratio"] == 2.0


@pytest.mark.parametrize("reference", [[], [0.0, 0.0, 1.0]], ids=["none", "zero"])
def test_nothing_is_divided_by_nothing(reference: list[float]) -> None:
    """Without a reference there is no ratio."""
    figure = Figure("group", "name", "", [1.0, 2.0, 3.0], reference)

    assert figure.ratios == []
    assert figure.as_json()["ratio"] is None


@pytest.mark.parametrize(
    ("goal", "met"),
    [
        (None, None),
        (Goal("ratio", "at least", 2), True),
        (Goal("ratio", "at least", 2.1), False),
        (Goal("ratio", "at most", 1.9), False),
        (Goal("median", "at most", 3), True),
        (Goal("maximum", "at most", 3), False),
        (Goal("maximum", "at most", 8), True),
    ],
)
def test_a_goal_is_about_the_median_or_the_worst(goal: Goal | None, met: bool | None) -> None:
    """Of the ratio or of the project's own values."""
    figure = Figure("group", "name", "ms", ROUNDS.project, ROUNDS.reference, "other", goal)

    assert figure.met is met


def test_the_table_names_each_group_once() -> None:
    """And tells median, spread, what it is compared with, ratio and goal."""
    goal = Goal("ratio", "at most", 1)
    missed = Figure("group", "name", "ms", ROUNDS.project, ROUNDS.reference, "other", goal)

    lines = str(Table([ROUNDS, missed])).splitlines()

    assert len(lines) == 5
    assert lines[2] == "| **group** |  |  |  |  |"
    assert lines[4] == (
        "| name | 3 (2 to 8) ms | other: 2 (1 to 3) | 2 (1 to 4) | ratio ≤ 1: missed |"
    )


def test_turns_alternate() -> None:
    """One of each, and again."""
    said: list[str] = []

    values = in_turns(2, lambda: said.append("a"), lambda: said.append("b"))

    assert said == ["a", "b", "a", "b"]
    assert values == [[None, None], [None, None]]


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234.5, "1,234"), (12.345, "12.3"), (0.1234, "0.12"), (0.01234, "0.0123"), (3.0, "3")],
)
def test_numbers_have_the_digits_that_say_something(value: float, text: str) -> None:
    """No more."""
    assert number(value) == text
