"""A program that runs workflows with what the worker puts in place of DBOS's own; see test_dbos.

It writes what each has told, as JSON.
"""

import functools
import json
import sys
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo

import sqlalchemy
from dbos import DBOS, DBOSConfiguredInstance, DBOSPortableJSONSerializer, SQLAlchemyDatasource
from pydantic import Strict

from worker import internals
from worker.ownership import Ownership
from worker.running import Running
from worker.signatures import arguments_validator

URL = sys.argv[1]

SERIALIZER = DBOSPortableJSONSerializer()

PRICE = Decimal("1.10")

MIDNIGHT = datetime(2026, 1, 1)

CALLS: list[str] = []


@dataclass
class Invoice:
    price: Decimal


@DBOS.step(name="unhinted", retries_allowed=True, max_attempts=3, interval_seconds=0)
def unhinted():  # type: ignore[no-untyped-def]
    CALLS.append("unhinted")
    return PRICE


@DBOS.step(name="hinted", retries_allowed=True, max_attempts=3, interval_seconds=0)
def hinted() -> Decimal:
    CALLS.append("hinted")
    if CALLS.count("hinted") < 3:
        raise ValueError
    return PRICE


@DBOS.step(name="awaited")
async def awaited() -> Decimal:
    return PRICE


def price() -> Decimal:
    return PRICE


class Priced:
    def __call__(self) -> Decimal:
        return PRICE


def callables() -> str:
    told = [
        DBOS.run_step({"name": "partial"}, functools.partial(price)),
        DBOS.run_step({"name": "of class"}, functools.partial(Invoice, PRICE)),
        DBOS.run_step(None, Decimal, "1.10"),
        DBOS.run_step({"name": "instance"}, Priced()),
    ]
    return repr(told)


@DBOS.workflow(name="child")
def child(price: Decimal, share: float, *more: Decimal, **named: Decimal) -> Invoice:
    DBOS.set_event("given", repr((price, share, more, named)))
    return Invoice(price)


@DBOS.workflow(name="async_child")
async def async_child(price: Decimal) -> Decimal:
    return price


@DBOS.workflow(name="loose_child")
def loose_child(number: int):  # type: ignore[no-untyped-def]
    return number


@DBOS.workflow(name="lossy_child")
def lossy_child():  # type: ignore[no-untyped-def]
    return (1,)


def strict(key: UUID | str, when: date | datetime, at: Annotated[datetime, Strict()]) -> str:
    return repr((key, when, at))


published_child = DBOS.workflow(name="strict", validate_args=arguments_validator(strict))(strict)


@DBOS.workflow(name="bytes_child")
def bytes_child() -> list[bytes]:
    return [b"\xff\x00"]


@DBOS.workflow(name="zone_child")
def zone_child() -> ZoneInfo:
    return ZoneInfo("Europe/Paris")


@DBOS.dbos_class()
class Shop(DBOSConfiguredInstance):
    @DBOS.workflow(name="sell")
    def sell(self, price: Decimal) -> tuple[str, Decimal]:
        return self.config_name, price


SHOP = Shop("shop")


def transactions() -> str:
    def insert() -> Decimal:
        datasource.sql_session().execute(sqlalchemy.text("select 1"))
        return PRICE

    return repr(datasource.run_tx_step({"name": "insert"}, insert))


def told_by_hint_only() -> str:
    workflows: tuple[Any, ...] = (bytes_child, zone_child)
    direct = [workflow() for workflow in workflows]
    handles = [DBOS.start_workflow(workflow) for workflow in workflows]
    handles += [DBOS.enqueue_workflow("queue", workflow) for workflow in workflows]
    handles += [DBOS.retrieve_workflow(each.get_workflow_id()) for each in handles]
    return repr([*direct, *[each.get_result() for each in handles]])


def published() -> list[str]:
    given = UUID(int=1), MIDNIGHT, MIDNIGHT
    handles = [
        DBOS.start_workflow(published_child, *given),
        DBOS.enqueue_workflow("queue", published_child, *given),
    ]
    return [published_child(*given), *[each.get_result() for each in handles]]


def given(workflow_id: str) -> Any:
    return DBOS.get_event(workflow_id, "given")


def children() -> Any:
    direct = child(PRICE, 3, PRICE, named=PRICE)
    started = DBOS.start_workflow(child, PRICE, 3)
    options: Any = {"workflow_name": "child", "queue_name": "queue"}
    enqueued = DBOS.enqueue_workflow_with_options(options, PRICE, share=3)
    handles = [started, enqueued, DBOS.enqueue_workflow("queue", child, PRICE, 3)]
    return [repr(direct), *[(repr(h.get_result()), given(h.get_workflow_id())) for h in handles]]


def other_children() -> Any:
    step = DBOS.start_workflow(awaited)
    return [
        repr(DBOS.start_workflow(async_child, PRICE).get_result()),
        repr(step.get_result()),
        repr(DBOS.get_result(step.get_workflow_id())),
        repr(SHOP.sell(PRICE)),
        repr(DBOS.start_workflow(SHOP.sell, PRICE).get_result()),
        repr(loose_child("ignored hints")),  # type: ignore[arg-type]
    ]


def statuses() -> Any:
    started = DBOS.start_workflow(child, PRICE, 3)
    started.get_result()
    handle: Any = DBOS.retrieve_workflow(started.get_workflow_id())
    failed = DBOS.start_workflow(lossy_child)
    error = refused(failed.get_result)
    status = DBOS.get_workflow_status(failed.get_workflow_id())
    listed = DBOS.list_workflows(workflow_ids=[handle.get_workflow_id()])
    assert status
    return [
        repr(handle.get_result()),
        type(status).__name__,
        status.status,
        error.endswith(str(status.error)),
        [each.output for each in listed],
    ]


def refused(call: Any) -> str:
    try:
        return f"not refused: {call()!r}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def refusals() -> list[str]:
    return [
        refused(unhinted),
        refused(lossy_child),
        refused(lambda: loose_child("3")),  # type: ignore[arg-type]
        refused(lambda: loose_child(PRICE)),  # type: ignore[arg-type]
        refused(lambda: DBOS.set_event("event", object())),
        refused(lambda: DBOS.send(str(DBOS.workflow_id), object(), "topic")),
    ]


PROGRAMS = {
    "steps": lambda: repr((hinted(), DBOS.run_step(None, hinted))),
    "callables": callables,
    "transactions": transactions,
    "children": children,
    "other children": other_children,
    "published": published,
    "told by hint only": told_by_hint_only,
    "statuses": statuses,
    "refusals": refusals,
}


@DBOS.workflow(name="parent")
def parent(program: str) -> Any:
    return PROGRAMS[program]()


async def async_price() -> Decimal:
    return PRICE


@DBOS.workflow(name="async_parent")
async def async_parent() -> list[str]:
    handle = await DBOS.start_workflow_async(async_child, PRICE)
    return [
        repr(await awaited()),
        repr(await DBOS.run_step_async(None, lambda: "text")),
        repr(await async_child(PRICE)),
        repr(await handle.get_result()),
        repr(await DBOS.run_step_async(None, awaited)),
        repr(await DBOS.run_step_async({"name": "partial"}, functools.partial(async_price))),
    ]


@DBOS.workflow(name="announced")
def announced() -> int:
    return "three"  # type: ignore[return-value]


@DBOS.workflow(name="unannounced")
def unannounced():  # type: ignore[no-untyped-def]
    return (PRICE, Invoice(PRICE))


def twice(workflow: Any, *args: Any) -> list[Any]:
    """What a workflow returns, and what it does when all of its steps are recorded."""
    handle = DBOS.start_workflow(workflow, *args)
    first = handle.get_result()
    return [first, DBOS.fork_workflow(handle.get_workflow_id(), 1000).get_result()]


internals.install()
held: Any = SimpleNamespace(session=1, held_since=lambda session: True)
internals.begin_steps_only_as_owner(Ownership(held))
internals.note_what_is_executed(Running())
DBOS(config={"name": "kept", "system_database_url": URL, "serializer": SERIALIZER})
datasource = SQLAlchemyDatasource.create(URL, serializer=SERIALIZER)
DBOS.launch()
DBOS.register_queue("queue", polling_interval_sec=0.1)
told: dict[str, Any] = {program: twice(parent, program) for program in PROGRAMS}
told["async"] = twice(async_parent)
told["calls"] = CALLS
told["announced"] = refused(lambda: announced())
told["unannounced"] = unannounced()
told["outside"] = repr(hinted())
sys.stdout.write(json.dumps(told))
DBOS.destroy()
