"""Workflows that people write by mistake, and some that are merely unusual."""

import asyncio
import math
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from dbos import DBOS

from worker import PublicError, workflow


@dataclass
class Item:
    sku: str
    quantity: int = 1


@DBOS.step(name="opaque")
def opaque() -> object:
    return object()


@workflow()
def step_not_portable() -> None:
    opaque()


@workflow()
def result_not_portable() -> Any:
    return object()


@workflow()
def not_a_number() -> float:
    return math.nan


@workflow()
def half_a_character() -> str:
    raise PublicError("\ud800")


@workflow()
def exits() -> None:
    sys.exit(3)


@DBOS.step(name="half_a_step")
def half_a_step() -> float:
    return math.inf


@workflow()
def step_not_a_number() -> float:
    return half_a_step()


@DBOS.workflow(name="half_a_child")
def half_a_child() -> str:
    raise PublicError("\ud800")


@workflow()
def child_fails() -> str:
    return DBOS.enqueue_workflow("report_queue", half_a_child).get_result(polling_interval_sec=0.1)


@workflow()
async def interrupted() -> None:
    raise KeyboardInterrupt


@workflow(max_recovery_attempts=1)
async def ends_the_event_loop() -> None:
    async def exits() -> None:
        sys.exit(3)

    await asyncio.create_task(exits())


@workflow()
async def typed(items: list[Item], day: date, *, copy: bool = False) -> dict[str, Any]:
    """Arguments arrive as what the type hints say."""
    await asyncio.sleep(0)
    total = sum(item.quantity for item in items)
    return {"total": total, "weekday": day.isoweekday(), "copy": copy}


@workflow()
def faints(path: str) -> str:
    """End without an end the first time."""
    if not Path(path).exists():
        Path(path).touch()
        raise asyncio.CancelledError
    return "awake"
