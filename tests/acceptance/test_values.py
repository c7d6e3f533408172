"""What workflows are given is the same in the first execution and in every later one."""

import json
from typing import Any

import pytest

from local_dev.bench.processes import wait_until
from tests.fleet import Fleet
from tests.interruptions import INTERRUPTIONS
from tests.workflows.survivors import VALUES, say

ASLEEP = """
select count(distinct workflow_uuid) from dbos.operation_outputs
where function_name = 'DBOS.sleep' and workflow_uuid = any(%s)
"""

OUTPUTS = """
select s.workflow_uuid, status, coalesce(o.output, o.error)
from dbos.workflow_status s left join dbos.workflow_output o using (workflow_uuid)
where s.workflow_uuid = any(%s)
"""

Given = dict[tuple[str, str], Any]


def launch(workers: Fleet, seconds: float) -> dict[str, tuple[str, str]]:
    """Launch every workflow with every value, each of which will sleep; returns their ids."""
    launched = {}
    for name in VALUES:
        for workflow in ("survivor", "async_survivor", "told"):
            workflow_id = workers.enqueue_on("order_queue", workflow, name=name, seconds=seconds)
            launched[workflow_id] = (workflow, name)
            if workflow == "told":
                workers.enqueue("tells", name=name, workflow_id=workflow_id)
    return launched


def results(workers: Fleet, launched: dict[str, tuple[str, str]]) -> Given:
    """What each workflow has said in the end."""
    rows = workers.query(OUTPUTS, list(launched))
    assert {(launched[each], error) for each, status, error in rows if status != "SUCCESS"} == set()
    return {launched[each]: json.loads(output) for each, _, output in rows}


@pytest.mark.parametrize("interruption", INTERRUPTIONS)
def test_values_survive(interruption: str, workers: Fleet) -> None:
    """Of steps and children, arguments and messages, whatever their type: as if undisturbed."""
    victim = workers.start(DRAIN_TIMEOUT="0")
    undisturbed = launch(workers, seconds=0.01)
    workers.wait_until_finished()
    interrupted = launch(workers, seconds=8)
    wait_until(lambda: workers.query(ASLEEP, list(interrupted)) == [(len(interrupted),)])

    INTERRUPTIONS[interruption](workers, victim, interrupted)
    workers.wait_until_finished(120)

    first, later = results(workers, undisturbed), results(workers, interrupted)
    assert later == first
    odd = {"none", "utc", "offset", "widened", "enum as text"}
    for (workflow, name), said in first.items():
        ways = said if workflow != "told" else {"recv": said}
        ways.pop("event", None)
        if name not in odd:
            assert set(ways.values()) == {say(VALUES[name][1])}
