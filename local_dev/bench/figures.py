"""What was measured, as rows of one table."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Goal:
    """What a figure should become: its ratio to the reference, or the project's own value."""

    of: Literal["ratio", "median", "maximum"]
    bound: Literal["at least", "at most"]
    value: float

    def __str__(self) -> str:
        """As in the table."""
        sign = "≥" if self.bound == "at least" else "≤"
        return f"{self.of} {sign} {self.value:g}"


@dataclass(frozen=True)
class Figure:
    """One row: a value of the project, and of what it is compared with, from each round."""

    group: str
    name: str
    unit: str
    project: Sequence[float]
    reference: Sequence[float] = ()
    """As long as `project`, round by round, or empty."""
    against: str = ""
    """What the reference is."""
    goal: Goal | None = None

    @property
    def ratios(self) -> list[float]:
        """The project's value by the reference's, of each round; empty where that may be 0."""
        if not self.reference or 0 in self.reference:
            return []
        return [ours / theirs for ours, theirs in zip(self.project, self.reference, strict=True)]

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without one, or without a ratio to judge by."""
        if self.goal is None or (self.goal.of == "ratio" and not self.ratios):
            return None
        value = {
            "ratio": lambda: statistics.median(self.ratios),
            "median": lambda: statistics.median(self.project),
            "maximum": lambda: max(self.project),
        }[self.goal.of]()
        return (
            value >= self.goal.value if self.goal.bound == "at least" else value <= self.goal.value
        )

    def __str__(self) -> str:
        """The row in Markdown."""
        goal = f"{self.goal}: {'met' if self.met else 'missed'}" if self.goal else ""
        reference = f"{self.against}: {spread(self.reference)}" if self.reference else ""
        ratio = spread(self.ratios) if self.ratios else ""
        project = f"{spread(self.project)} {self.unit}".strip()
        return _line([self.name, project, reference, ratio, goal])

    def as_json(self) -> dict[str, Any]:
        """Everything, every round included."""
        return {
            "group": self.group,
            "name": self.name,
            "unit": self.unit,
            "project": list(self.project),
            "reference": list(self.reference),
            "against": self.against,
            "ratio": statistics.median(self.ratios) if self.ratios else None,
            "goal": str(self.goal) if self.goal else None,
            "met": self.met,
        }


def in_turns(rounds: int, *measures: Callable[[], T]) -> list[list[T]]:
    """Measure in turns, so that whatever else the machine does meets all alike.

    Returns the values of each measure, round by round.
    """
    values: list[list[T]] = [[] for _ in measures]
    for _ in range(rounds):
        for measure, into in zip(measures, values, strict=True):
            into.append(measure())
    return values


@dataclass
class Table:
    """All rows."""

    figures: list[Figure] = field(default_factory=list)

    HEADER = ("", "project", "reference", "ratio", "goal")

    def __str__(self) -> str:
        """A table in Markdown, the groups apart."""
        lines = [_line(self.HEADER), _line(["---"] * len(self.HEADER))]
        group = ""
        for figure in self.figures:
            if figure.group != group:
                group = figure.group
                lines.append(_line([f"**{group}**", "", "", "", ""]))
            lines.append(str(figure))
        return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def spread(values: Sequence[float]) -> str:
    """The median, and in brackets the smallest and the largest value."""
    if len(values) == 1:
        return number(values[0])
    return f"{number(statistics.median(values))} ({number(min(values))} to {number(max(values))})"


def number(value: float) -> str:
    """With as many digits as say something."""
    if float(value).is_integer():
        return f"{value:,.0f}"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 4
    return f"{value:,.{digits}f}"
