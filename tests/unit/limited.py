"""A program that runs workflows which store more than they may; see test_limits.

It writes what each has told, as JSON: with the limits, replayed with others, and the other way
round.
"""

import json
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from dbos import DBOS
from pydantic import BaseModel

from worker import internals
from worker.limits import LimitedJSONSerializer, limits
from worker.ownership import Ownership
from worker.running import Running

URL = sys.argv[1]

NARROW, WIDE = limits(2000, 1000), limits(2_000_000, 1_000_000)

SERIALIZER = LimitedJSONSerializer(NARROW)

CALLS: list[str] = []

LONG = "ä" * 1000


class Page(BaseModel):
    lines: list[str]


@DBOS.step(name="text", retries_allowed=True, max_attempts=3, interval_seconds=0)
def text(length: int) -> str:
    CALLS.append("text")
    return "x" * length


@DBOS.step(name="page", retries_allowed=True, max_attempts=3, interval_seconds=0)
async def page(length: int) -> Page:
    CALLS.append("page")
    return Page(lines=["x" * 8] * length)


@DBOS.step(name="unhinted")
def unhinted(length: int):  # type: ignore[no-untyped-def]
    return {"key": "x" * length}


@DBOS.step(name="telling")
def telling(key: str) -> None:
    DBOS.set_event(key, LONG)


@DBOS.step(name="writing")
def writing(key: str) -> None:
    DBOS.write_stream(key, LONG)


@DBOS.step(name="sending")
def sending(topic: str) -> None:
    DBOS.send(str(DBOS.workflow_id), LONG, topic)


@DBOS.workflow(name="child")
def child(length: int) -> str:
    return "x" * length


def told(call: Callable[[], Any]) -> str:
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "stored"


@DBOS.workflow(name="parent")
def parent() -> list[str]:
    DBOS.set_event("begun", "yes")
    heard = [
        told(lambda: text(1998)),
        told(lambda: text(1999)),
        told(lambda: unhinted(1990)),
        told(lambda: unhinted(1991)),
        told(lambda: child(1998)),
        told(lambda: child(1999)),
        told(lambda: DBOS.set_event("fits", "ä" * 499)),
        told(lambda: DBOS.set_event("long", LONG)),
        told(lambda: DBOS.write_stream("long", LONG)),
        told(lambda: DBOS.send(str(DBOS.workflow_id), LONG, "topic")),
        told(lambda: telling("long")),
        told(lambda: writing("long")),
        told(lambda: sending("topic")),
    ]
    return [*heard, str(DBOS.get_event(str(DBOS.workflow_id), "long", timeout_seconds=0))[:10]]


@DBOS.workflow(name="async_parent")
async def async_parent() -> list[str]:
    heard = []
    for call in (
        lambda: page(180),
        lambda: page(182),
        lambda: DBOS.set_event_async("long", LONG),
        lambda: DBOS.write_stream_async("long", LONG),
        lambda: DBOS.send_async(str(DBOS.workflow_id), LONG, "topic"),
    ):
        try:
            await call()
            heard.append("stored")
        except Exception as error:
            heard.append(f"{type(error).__name__}: {error}")
    return heard


def executed(workflow: Any, first: Any, later: Any) -> tuple[Any, Any]:
    """What a workflow has heard with these limits, and what when all of it was recorded."""
    SERIALIZER.limits = first
    handle = DBOS.start_workflow(workflow)
    heard = handle.get_result()
    SERIALIZER.limits = later
    return heard, DBOS.fork_workflow(handle.get_workflow_id(), 1000).get_result()


internals.install()
held: Any = SimpleNamespace(session=1, held_since=lambda session: True)
internals.begin_steps_only_as_owner(Ownership(held))
internals.note_what_is_executed(Running())
DBOS(config={"name": "limited", "system_database_url": URL, "serializer": SERIALIZER})
DBOS.launch()
heard = {
    "narrow, then wide": executed(parent, NARROW, WIDE),
    "wide, then narrow": executed(parent, WIDE, NARROW),
    "async narrow, then wide": executed(async_parent, NARROW, WIDE),
    "async wide, then narrow": executed(async_parent, WIDE, NARROW),
}
sys.stdout.write(json.dumps({"heard": heard, "calls": CALLS}))
DBOS.destroy()
