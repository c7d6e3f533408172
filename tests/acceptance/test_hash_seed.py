"""Workflows that go through a set do so in the same order wherever they are executed."""

import json
import os
import signal
import subprocess
from itertools import groupby
from pathlib import Path

import pytest

from local_dev.bench.processes import python, wait_until
from local_dev.bench.proxy import Proxy
from tests.fleet import Fleet, fleet
from tests.interruptions import INTERRUPTIONS

COUNT = 20

RECORDED = """
select output from dbos.operation_outputs
where workflow_uuid = %s and function_name like 'charge%%' order by function_id
"""

OUTPUT = "select output from dbos.workflow_output where workflow_uuid = %s"


@pytest.mark.parametrize(
    ("interruption", "step"),
    [("kill", "charge"), ("adopt", "charge {}")],
    ids=["killed", "replayed in memory"],
)
def test_each_member_of_a_set_is_charged_once(interruption: str, step: str, workers: Fleet) -> None:
    """Whoever executes the workflow; only the step that was in flight runs again."""
    victim = workers.start()
    workflow_id = workers.enqueue("charges", path=str(workers.path), step=step, count=COUNT)
    victim.wait_until(lambda: workers.runs(victim, COUNT // 2 + 1))

    INTERRUPTIONS[interruption](workers, victim, [workflow_id])
    workers.finish()

    begun = [line.number for line in workers.lines() if line.event == "begin"]
    charged = [f"sku-{number}" for number, _ in groupby(begun)]
    recorded = [json.loads(output) for (output,) in workers.query(RECORDED, workflow_id)]
    assert len({line.pid for line in workers.lines()}) == 2
    assert sorted(charged) == sorted(f"sku-{number}" for number in range(COUNT))
    assert charged == recorded
    assert len(begun) == COUNT + 1


def test_the_first_worker_shares_the_seed_that_it_makes(project: Path, empty_database: str) -> None:
    """It starts again when it has made the tables."""
    with fleet(project, empty_database) as workers:
        workers.start()
        workflow_id = workers.enqueue("hashed", text="sku-1")
        workers.wait_until_finished()
        seed = workers.query("select seed from catalog.hash_seed")[0][0]
        output = workers.query(OUTPUT, workflow_id)[0][0]

    with_seed = subprocess.run(
        python("-c", "print(hash('sku-1'))"),
        env=os.environ | {"PYTHONHASHSEED": str(seed)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(output) == with_seed.stdout.strip()


def test_a_worker_can_be_stopped_while_it_waits_for_the_seed(workers: Fleet) -> None:
    """As everywhere before it has begun anything."""
    with Proxy(workers.database) as network, network.frozen():
        process = workers.begin(DBOS_SYSTEM_DATABASE_URL=network.url)
        wait_until(lambda: network.connections)
        code = process.stop(signal.SIGTERM)

    assert (code, process.said()) == (-signal.SIGTERM, "")
