"""The warning of a worker that starts with other code than that of the runs under way."""

from dataclasses import replace

import pytest

from local_dev.bench.stage import enqueue
from tests.rows import begin, record, update
from worker import workflows
from worker.declarations import find_workflows
from worker.settings import Settings
from worker.sources import warn_of_changes


def warnings(database: str, caplog: pytest.LogCaptureFixture, version: str, changed: bool) -> str:
    """What a worker of `version` has to say, whose `greeting` was `changed` or not."""
    environ = {"DBOS_SYSTEM_DATABASE_URL": database, "APP_VERSION": version}
    entries = [
        replace(each, source_digest="another") if changed and each.name == "greeting" else each
        for each in find_workflows(workflows)
    ]
    warn_of_changes(Settings.from_env(environ), entries)
    return caplog.text


@pytest.mark.parametrize(
    ("version", "changed", "status", "begun", "warned"),
    [
        ("1", True, "PENDING", True, True),
        ("1", True, "ENQUEUED", True, True),
        ("1", False, "PENDING", True, False),
        ("2", True, "PENDING", True, False),
        ("1", True, "SUCCESS", True, False),
        ("1", True, "ENQUEUED", False, False),
    ],
)
def test_a_worker_warns_of_changed_code_under_the_same_version(
    database: str,
    caplog: pytest.LogCaptureFixture,
    version: str,
    changed: bool,
    status: str,
    begun: bool,
    warned: bool,
) -> None:
    """Only if runs have begun that have not ended, and with what it has to be given."""
    [workflow_id] = enqueue(database, 1)
    begin(database, workflow_id)
    update(database, workflow_id, status=status)
    if begun:
        record(database, workflow_id, 1, "generate_greeting")

    said = warnings(database, caplog, version, changed)

    assert ("'greeting' is another" in said and "APP_VERSION" in said) == warned
