"""What is assumed of dbos that it does not promise: one sentence and one test each.

An upgrade that breaks an assumption fails here, and says which.
"""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from dbos import DBOSPortableJSONSerializer
from dbos._sys_db import ThreadSafeEventDict
from dbos._sys_db_postgres import PostgresSystemDatabase
from dbos._utils import LoopAwareEvent

from worker import internals
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
