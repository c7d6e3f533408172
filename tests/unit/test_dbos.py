"""What is assumed of dbos that it does not promise: one sentence and one test each.

An upgrade that breaks an assumption fails here, and says which.
"""

import json
import math
import re
import subprocess
import sys
import time
from inspect import signature
from pathlib import Path

import dbos
import pytest
from dbos import DBOSPortableJSONSerializer, _sys_db
from dbos._sys_db import ThreadSafeEventDict
from dbos._sys_db_postgres import PostgresSystemDatabase
from dbos._utils import LoopAwareEvent

from worker import internals
from worker.clock import Clock, steady
from worker.listener import Listener

PROGRAM = """
from dbos import DBOSPortableJSONSerializer
from worker import internals

before = DBOSPortableJSONSerializer.serialize
assert before.__module__ == "dbos._serialization", "importing has replaced it"
for _ in range(2):
    internals.install()
once = DBOSPortableJSONSerializer.serialize
internals.install()
assert before is not once is DBOSPortableJSONSerializer.serialize
"""


def test_replacements_are_put_in_place_once_and_not_by_import(root: Path) -> None:
    """Importing the worker changes nothing in dbos; installing twice changes it once."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=root, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


def test_dbos_serializes_portable_values_with_a_method_of_this_class() -> None:
    """Results and steps, events and errors all pass through it, whatever is configured."""
    internals.store_only_portable_json()

    with pytest.raises(ValueError, match="NaN is not portable JSON"):
        DBOSPortableJSONSerializer().serialize(math.nan)
    assert json.loads(DBOSPortableJSONSerializer().serialize("\ud800")) == "\ud800"


def test_dbos_listens_in_one_method_of_this_class() -> None:
    """The thread that DBOS starts for it goes on in what is put in its place."""
    listen = PostgresSystemDatabase._notification_listener

    internals.look_when_listening(Listener())

    instead = PostgresSystemDatabase._notification_listener
    assert instead.__wrapped__ is listen  # type: ignore[attr-defined]
    assert (
        "_notification_listener"
        in PostgresSystemDatabase.run_notification_listener.__code__.co_names
    )


def test_dbos_knows_for_what_each_waits() -> None:
    """By workflow and topic, or key; what is set there wakes all who wait for the same."""
    waiting, one, other = ThreadSafeEventDict(), LoopAwareEvent(), LoopAwareEvent()
    for event in (one, other):
        waiting.add("run::topic", event, ("run", "topic", None))

    [(payload, components, signal)] = waiting.snapshot()
    signal.set()

    assert (payload, components) == ("run::topic", ("run", "topic", None))
    assert waiting.get(payload) is signal
    assert one.is_set()
    assert other.is_set()


def test_dbos_tells_the_time_in_these_modules_only() -> None:
    """By `time.time()`, the module's `time` being the whole module; but schedules, whose next time
    is a `datetime.now()`."""
    sources = {path: path.read_text() for path in Path(dbos.__file__).parent.rglob("*.py")}

    def modules(pattern: str) -> set[str]:
        return {f"dbos.{path.stem}" for path in sources if re.search(pattern, sources[path])}

    assert modules(r"\btime\.time(_ns)?\(\)") == {each.__name__ for each in internals.TIMED}
    assert modules(r"from time import|import time as|datetime\.(utc)?now\(") == {"dbos._scheduler"}


def test_dbos_asks_its_modules_for_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time anew, so that another `time` in a module is all that it takes."""
    for module in internals.TIMED:
        monkeypatch.setattr(module, "time", time)  # For afterwards.
    clock = Clock()
    clock.learn(told=1_000_000.0, sent=(now := steady()), received=now)

    for _ in range(2):
        internals.tell_the_time_of(clock)

    for module in internals.TIMED:
        assert getattr(module, "time").time() == pytest.approx(1_000_000, abs=60)  # noqa: B009
    assert getattr(_sys_db, "time").sleep is time.sleep  # noqa: B009


def test_dbos_sweeps_under_this_lock_alone() -> None:
    """Both sweeps, and nothing else, are done by the one process that holds it."""
    source = (Path(dbos.__file__).parent / "_workflow_commands.py").read_text()
    used = [
        path.stem
        for path in Path(dbos.__file__).parent.rglob("*.py")
        for _ in re.finditer(
            r"(?<!def )\b(transition_delayed_workflows|cancel_timed_out_workflows"
            r"|background_job_lock|_run_background_jobs)\(",
            path.read_text(),
        )
    ]

    assert used == ["_workflow_commands"] * 4
    assert source.index("background_job_lock(") < source.index("transition_delayed_workflows(")
    assert [*signature(PostgresSystemDatabase.background_job_lock).parameters][1:] == ["job_name"]
