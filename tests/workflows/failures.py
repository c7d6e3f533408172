"""Workflows that catch what steps and children raise, and tell what they have caught."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from dbos import DBOS

from worker import workflow


class OutOfStock(Exception):
    def __init__(self, item: str, ordered: int, *, price: Decimal) -> None:
        super().__init__(f"{ordered} of {item} ordered")
        self.item = item
        self.ordered = ordered
        self.price = price


@dataclass
class Declined(Exception):
    reason: str
    at: datetime


class Disconnected(Exception):
    def __init__(self, message: str, connection: object) -> None:
        super().__init__(message)
        self.connection = connection


class Connection:
    def __str__(self) -> str:
        return "a connection"


def out_of_stock() -> Exception:
    return OutOfStock("book", 3, price=Decimal("1.10"))


def local() -> Exception:
    class Local(Exception):
        pass

    return Local("local")


def chained() -> Exception:
    error = ValueError("effect")
    error.__cause__ = out_of_stock()
    return error


MAKERS: list[Callable[[], Exception]] = [
    out_of_stock,
    lambda: Declined("stolen", datetime(2026, 1, 2, tzinfo=UTC)),
    lambda: Disconnected("cut", Connection()),
    lambda: FileNotFoundError(2, "No such file", "/nowhere"),
    lambda: KeyError("key"),
    lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
    lambda: json.JSONDecodeError("bad", "{", 1),
    lambda: ExceptionGroup("both", [out_of_stock(), ValueError(1)]),
    chained,
    local,
]


def told(error: BaseException | None) -> Any:
    """Whatever code that catches an exception may look at."""
    if error is None:
        return None
    kept = {name: each for name, each in vars(error).items() if name != "errors"}
    return [
        f"{type(error).__module__}.{type(error).__qualname__}",
        str(error),
        repr(error.args),
        {name: f"{type(each).__name__} {each}" for name, each in kept.items()},
        [told(each) for each in getattr(error, "errors", getattr(error, "exceptions", ()))],
        getattr(error, "filename", None),
        told(error.__cause__),
    ]


def caught(function: Callable[[], Any]) -> Any:
    try:
        return function()
    except (OutOfStock, Declined) as error:
        return ["its own class", told(error)]
    except Exception as error:
        return ["another class", told(error)]


async def caught_async(function: Callable[[], Awaitable[Any]]) -> Any:
    try:
        return await function()
    except (OutOfStock, Declined) as error:
        return ["its own class", told(error)]
    except Exception as error:
        return ["another class", told(error)]


@DBOS.step(name="fails")
def fails(number: int) -> None:
    raise MAKERS[number]()


@DBOS.step(name="fails_again", retries_allowed=True, max_attempts=2, interval_seconds=0.01)
def fails_again(number: int) -> None:
    raise MAKERS[number]()


@DBOS.step(name="fails_async")
async def fails_async(number: int) -> None:
    raise MAKERS[number]()


@DBOS.workflow(name="child_of_failures")
def child(number: int) -> None:
    raise MAKERS[number]()


@DBOS.workflow(name="async_child_of_failures")
async def child_async(number: int) -> None:
    await fails_async(number)


def ways(number: int) -> dict[str, Any]:
    """What is caught of a failure, however it comes."""
    make = MAKERS[number]

    def raises() -> None:
        raise make()

    return {
        "step": caught(lambda: fails(number)),
        "retried step": caught(lambda: fails_again(number)),
        "run_step": caught(lambda: DBOS.run_step({"name": "raises"}, raises)),
        "child": caught(lambda: child(number)),
        "started": caught(lambda: DBOS.start_workflow(child, number).get_result()),
        "enqueued": caught(
            lambda: DBOS.enqueue_workflow("report_queue", child, number).get_result(
                polling_interval_sec=0.05
            )
        ),
    }


async def ways_async(number: int) -> dict[str, Any]:
    """The same in an async workflow."""

    async def started() -> Any:
        return await (await DBOS.start_workflow_async(child_async, number)).get_result()

    async def enqueued() -> Any:
        handle = await DBOS.enqueue_workflow_async("report_queue", child_async, number)
        return await handle.get_result(polling_interval_sec=0.05)

    return {
        "step": await caught_async(lambda: fails_async(number)),
        "child": await caught_async(lambda: child_async(number)),
        "started": await caught_async(started),
        "enqueued": await caught_async(enqueued),
    }


@workflow()
def failures() -> Any:
    """Catch all failures, say which, wait, and say it again."""
    seen = [ways(number) for number in range(len(MAKERS))]
    DBOS.set_event("seen", seen)
    DBOS.recv("go", timeout_seconds=600)
    return seen


@workflow()
async def failures_async() -> Any:
    """The same in an async workflow."""
    seen = [await ways_async(number) for number in range(len(MAKERS))]
    await DBOS.set_event_async("seen", seen)
    await DBOS.recv_async("go", timeout_seconds=600)
    return seen
