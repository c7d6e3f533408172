"""Workflows that tell what they were given, by steps, children, messages and their own callers.

Each sleeps after it was given everything, so that its worker can die meanwhile.
"""

import enum
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar

from dbos import DBOS
from pydantic import BaseModel, Field, computed_field
from typing_extensions import TypedDict

from worker import workflow

T = TypeVar("T")


class Level(enum.IntEnum):
    HIGH = 3


class Colour(enum.StrEnum):
    RED = "red"


class Shape(enum.Enum):
    ROUND = 1.5


@dataclass(frozen=True)
class Line:
    sku: str
    price: Decimal
    until: date | None = None


class Invoice(BaseModel):
    lines: list[Line]
    due: datetime = Field(alias="dueAt")

    @computed_field
    def total(self) -> Decimal:
        return sum((line.price for line in self.lines), Decimal(0))


class Page(BaseModel, Generic[T]):
    items: tuple[T, ...]


class Point(NamedTuple):
    x: int
    y: Decimal


class Typed(TypedDict):
    price: Decimal
    when: datetime


NAIVE = datetime(2026, 2, 3, 4, 5, 6, 789012)

LINE = Line("lamp", Decimal("1.10"), date(2026, 2, 3))

VALUES: dict[str, tuple[Any, Any]] = {
    "none": (None, None),
    "text": (str, "1.10"),
    "number": (int, 10**30),
    "float": (float, 0.1 + 0.2),
    "minus zero": (float, -0.0),
    "plain": (dict[str, Any], {"a": [1, 2.5, None, True, {"b": "c"}]}),
    "decimal": (Decimal, Decimal("1.10")),
    "date": (date, NAIVE.date()),
    "time": (time, NAIVE.time()),
    "naive": (datetime, NAIVE),
    "utc": (datetime, NAIVE.replace(tzinfo=UTC)),
    "offset": (datetime, NAIVE.replace(tzinfo=timezone(timedelta(hours=5, minutes=30)))),
    "timedelta": (timedelta, timedelta(days=-1, microseconds=1)),
    "uuid": (uuid.UUID, uuid.UUID(int=7)),
    "bytes": (bytes, b"text"),
    "tuple": (tuple[int, Decimal], (1, Decimal("1.10"))),
    "set": (set[int], {3}),
    "frozenset": (frozenset[Decimal], frozenset({Decimal("1.10")})),
    "int enum": (Level, Level.HIGH),
    "str enum": (Colour, Colour.RED),
    "enum": (Shape, Shape.ROUND),
    "dataclass": (Line, LINE),
    "model": (Invoice, Invoice(lines=[LINE], dueAt=NAIVE)),
    "generic": (Page[Decimal], Page[Decimal](items=(Decimal("1.10"),))),
    "named tuple": (Point, Point(1, Decimal("1.10"))),
    "typed dict": (Typed, {"price": Decimal("1.10"), "when": NAIVE}),
    "keys": (dict[int, Decimal], {1: Decimal("1.10")}),
    "union": (Decimal | None, Decimal("1.10")),
    "int or text": (int | str, "3"),
    "literal": (Literal["a", 3], 3),
    "annotated": (Annotated[Decimal, Field(ge=0)], Decimal("1.10")),
    "widened": (float, 3),
    "enum as text": (str, Colour.RED),
}


def say(value: Any) -> str:
    return f"{type(value).__name__}: {value!r}"


class Case:
    """A value, and what a program does with it."""

    def __init__(self, name: str, hint: Any, value: Any) -> None:
        def produce() -> Any:
            return value

        async def produce_async() -> Any:
            return value

        def child(given: Any, seconds: float) -> Any:
            DBOS.sleep(seconds)
            return given

        def tell(given: Any, seconds: float) -> str:
            DBOS.sleep(seconds)
            return say(given)

        produce.__annotations__["return"] = produce_async.__annotations__["return"] = hint
        child.__annotations__ |= {"given": hint, "return": hint}
        tell.__annotations__["given"] = hint
        self.value, self.produce = value, produce
        self.step: Callable[[], Any] = DBOS.step(name=f"step {name}")(produce)
        self.async_step: Any = DBOS.step(name=f"async step {name}")(produce_async)
        self.child: Callable[..., Any] = DBOS.workflow(name=f"child {name}")(child)
        self.tell: Callable[..., str] = DBOS.workflow(name=f"tell {name}")(tell)


CASES = {name: Case(name, *of) for name, of in VALUES.items()}


@workflow(queue="order_queue")
def survivor(name: str, seconds: float) -> dict[str, str]:
    """Tell what everything gives that has the value of this name."""
    case = CASES[name]
    given = {
        "step": say(case.step()),
        "run_step": say(DBOS.run_step(None, case.produce)),
        "child": say(case.child(case.value, 0)),
        "argument": case.tell(case.value, 0),
    }
    started = {
        "started child": DBOS.start_workflow(case.child, case.value, seconds),
        "enqueued child": DBOS.enqueue_workflow("order_queue", case.child, case.value, seconds),
        "started argument": DBOS.start_workflow(case.tell, case.value, seconds),
        "enqueued argument": DBOS.enqueue_workflow("order_queue", case.tell, case.value, seconds),
        "started step": DBOS.start_workflow(case.step),
    }
    DBOS.set_event("value", case.value)
    given["event"] = say(DBOS.get_event(str(DBOS.workflow_id), "value"))
    DBOS.sleep(seconds)
    results = {way: handle.get_result(polling_interval_sec=0.2) for way, handle in started.items()}
    return given | {
        way: result if "argument" in way else say(result) for way, result in results.items()
    }


@workflow(queue="order_queue")
async def async_survivor(name: str, seconds: float) -> dict[str, str]:
    """Tell what everything gives that is awaited."""
    case = CASES[name]
    given = {
        "async step": say(await case.async_step()),
        "run_step_async": say(await DBOS.run_step_async(None, case.produce)),
        "async run_step": say(await DBOS.run_step_async(None, case.async_step)),
    }
    await DBOS.sleep_async(seconds)
    return given


@workflow(queue="order_queue", signals={name: hint for name, (hint, _) in VALUES.items()})
def told(name: str, seconds: float) -> str:
    """Tell what a signal is."""
    value = DBOS.recv(name, 60)
    DBOS.sleep(seconds)
    return say(value)


@workflow(queue="order_queue")
def tells(name: str, workflow_id: str) -> None:
    """Send a signal."""
    DBOS.send(workflow_id, CASES[name].value, name)
