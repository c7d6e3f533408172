"""What a workflow catches is the same in the first execution and in every later one."""

import json
from typing import Any

import pytest

from local_dev.bench.processes import wait_until
from tests.fleet import Fleet
from tests.interruptions import INTERRUPTIONS

OUT_OF_STOCK: Any = [
    "worker.workflows.failures.OutOfStock",
    "3 of book ordered",
    "('3 of book ordered',)",
    {"item": "str book", "ordered": "int 3", "price": "Decimal 1.10"},
    [],
    None,
    None,
]

MODULE = "worker.workflows.failures"

CLASSES = [
    f"{MODULE}.OutOfStock",
    f"{MODULE}.Declined",
    f"{MODULE}.Disconnected",
    "builtins.FileNotFoundError",
    "builtins.KeyError",
    "builtins.UnicodeDecodeError",
    "json.decoder.JSONDecodeError",
    "builtins.ExceptionGroup",
    "builtins.ValueError",
    "dbos._serialization.PortableWorkflowError",
]

WAYS = {
    "failures": ["step", "retried step", "run_step", "child", "started", "enqueued"],
    "failures_async": ["step", "child", "started", "enqueued"],
}


@pytest.mark.parametrize("interruption", INTERRUPTIONS)
@pytest.mark.parametrize("workflow", WAYS)
def test_what_is_caught_is_the_same(workflow: str, interruption: str, workers: Fleet) -> None:
    """Interrupted while the workflow waits: class, message, arguments, attributes, cause."""
    victim = workers.start(DRAIN_TIMEOUT="0")
    workflow_id = workers.enqueue(workflow)
    wait_until(lambda: events(workers, workflow_id))
    (first,) = events(workers, workflow_id)

    INTERRUPTIONS[interruption](workers, victim, [workflow_id])
    workers.send(workflow_id, "go")
    workers.wait_until_finished()
    (later,) = outputs(workers, workflow_id)

    assert later == first
    assert [list(each) for each in first] == [WAYS[workflow]] * len(CLASSES)
    for kind, ways in zip(CLASSES, first, strict=True):
        if again := ways.pop("retried step", None):
            assert again[1][0] == "dbos._error.DBOSMaxStepRetriesExceeded"
            assert [each[0] for each in again[1][4]] == [kind] * 2
        own = "its own class" if kind in CLASSES[:2] else "another class"
        assert {(caught, told[0]) for caught, told in ways.values()} == {(own, kind)}
    assert first[0]["step"][1] == OUT_OF_STOCK
    assert first[2]["step"][1][3] == {"connection": "str a connection"}
    assert first[8]["step"][1][-1] == OUT_OF_STOCK


def events(workers: Fleet, workflow_id: str) -> list[Any]:
    """What a workflow has seen the first time."""
    where = "where workflow_uuid = %s and key = 'seen'"
    rows = workers.query(f"select value from dbos.workflow_events {where}", workflow_id)
    return [json.loads(value) for (value,) in rows]


def outputs(workers: Fleet, workflow_id: str) -> list[Any]:
    """What a workflow has returned."""
    where = "where workflow_uuid = %s"
    rows = workers.query(f"select output from dbos.workflow_output {where}", workflow_id)
    return [json.loads(value) for (value,) in rows]
