"""Nothing is unpickled: a worker goes on beside rows whose pickles would execute code."""

import base64
import json
import pickle
import signal
import uuid
from pathlib import Path
from typing import Any

import psycopg
import pytest

from local_dev.bench.processes import DEADLINE
from local_dev.bench.stage import enqueue
from tests.fleet import Fleet
from tests.rows import update

REFUSAL = "NothingIsUnpickled: a value that is stored as 'py_pickle' is not read; only portable "


class Mark:
    """A value whose pickle creates a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """The file that is there once something was unpickled."""
    return tmp_path / "unpickled"


@pytest.fixture
def pickled(mark: Path) -> str:
    """A pickle as DBOS stores it, which leaves the mark."""
    text = base64.b64encode(pickle.dumps(Mark(mark))).decode()
    pickle.loads(base64.b64decode(text))
    mark.unlink()
    return text


@pytest.fixture
def finished(workers: Fleet) -> str:
    """A run that has ended."""
    workers.start()
    workflow_id = workers.enqueue("greeting")
    workers.wait_until_finished()
    return workflow_id


def insert(workers: Fleet, statement: str, *parameters: Any) -> None:
    """Write a row, as the functions' role may."""
    workers.query(f"{statement} returning 1", *parameters)


def send_pickle(workers: Fleet, workflow_id: str, pickled: str) -> None:
    """Send a pickle, and then what can be read."""
    columns = "destination_uuid, topic, message, serialization, message_uuid, created_at_epoch_ms"
    for number, row in enumerate([(pickled, "py_pickle"), ("true", "portable_json")]):
        insert(
            workers,
            f"insert into dbos.notifications ({columns}) values (%s, 'go', %s, %s, %s, %s)",
            workflow_id,
            *row,
            str(uuid.uuid4()),
            number,
        )


def error_of(workers: Fleet, workflow_id: str) -> tuple[str, str]:
    """How a run has ended, and what its error says."""
    [(status, text, serialization)] = workers.query(
        "select status, o.error, serialization from dbos.workflow_status "
        "join dbos.workflow_output o using (workflow_uuid) where workflow_uuid = %s",
        workflow_id,
    )
    assert serialization == "portable_json"
    return status, json.loads(text)["message"]


def result_of(workers: Fleet, workflow_id: str) -> list[str]:
    """What a run has returned."""
    where = "where workflow_uuid = %s"
    [(text,)] = workers.query(f"select output from dbos.workflow_output {where}", workflow_id)
    return list(json.loads(text))


def replayed(workers: Fleet, workflow_id: str) -> str:
    """Execute a run again with all that it has recorded; returns the id of that."""
    with workers.client() as client:
        fork = client.fork_workflow(workflow_id, 1000).workflow_id
    workers.wait_until_finished()
    return str(fork)


@pytest.mark.parametrize("name", ["greeting", "private", "unknown"])
@pytest.mark.parametrize("serialization", ["py_pickle", "js_superjson"])
def test_a_run_with_foreign_arguments_fails_at_once(
    workers: Fleet, mark: Path, pickled: str, name: str, serialization: str
) -> None:
    """Also one whose name is unknown; the others of its batch are executed."""
    bad, *good = enqueue(workers.database, 5)
    update(workers.database, bad, name=name, serialization=serialization)
    with psycopg.connect(workers.database) as connection:
        statement = "update dbos.workflow_input set inputs = %s where workflow_uuid = %s"
        connection.execute(statement, (pickled, bad))

    workers.start()
    workers.wait_until_finished()

    message = f"the arguments are stored as '{serialization}' and not read; only portable JSON is"
    assert error_of(workers, bad) == ("ERROR", message)
    assert [workers.status(each) for each in good] == ["SUCCESS"] * 4
    assert not mark.exists()


def test_arguments_in_the_column_of_earlier_releases_are_not_unpickled(
    workers: Fleet, mark: Path, pickled: str
) -> None:
    """DBOS has moved them to a table of their own, and still reads both."""
    [bad] = enqueue(workers.database, 1)
    update(workers.database, bad, inputs=pickled, serialization="py_pickle")
    with psycopg.connect(workers.database) as connection:
        connection.execute("delete from dbos.workflow_input where workflow_uuid = %s", (bad,))

    workers.start()
    workers.wait_until_finished()

    assert error_of(workers, bad)[0] == "ERROR"
    assert not mark.exists()


def test_a_pickled_signal_raises_once_and_the_next_is_received(
    workers: Fleet, mark: Path, pickled: str
) -> None:
    """It is consumed; a replay is told the same."""
    workers.start()
    reader = workers.enqueue("reads", what="signal")
    send_pickle(workers, reader, pickled)

    workers.wait_until_finished()
    told = result_of(workers, reader)
    again = result_of(workers, replayed(workers, reader))

    assert told == again
    assert told[0].startswith(REFUSAL)
    assert told[1] == "True"
    assert not mark.exists()


@pytest.mark.parametrize("what", ["result", "error", "event", "stream"])
def test_whoever_reads_a_pickle_gets_an_exception(
    workers: Fleet, finished: str, mark: Path, pickled: str, what: str
) -> None:
    """A replay gets the same, also when the value is another by then."""
    if what in ("result", "error"):
        values = (pickled, None) if what == "result" else (None, pickled)
        workers.query(
            "update dbos.workflow_output set output = %s, error = %s returning 1", *values
        )
        status = "SUCCESS" if what == "result" else "ERROR"
        update(workers.database, finished, status=status, serialization="py_pickle")
    elif what == "event":
        columns = "workflow_uuid, key, value, serialization"
        statement = f"insert into dbos.workflow_events ({columns}) values (%s, %s, %s, %s)"
        insert(workers, statement, finished, "progress", pickled, "py_pickle")
    else:
        columns = 'workflow_uuid, key, value, "offset", function_id, serialization'
        statement = f"insert into dbos.streams ({columns}) values (%s, %s, %s, 0, 1, %s)"
        insert(workers, statement, finished, "log", pickled, "py_pickle")
    kind = "result" if what == "error" else what
    reader = workers.enqueue("reads", what=kind, workflow_id=finished)
    workers.send(reader, "go")

    workers.wait_until_finished()
    told = result_of(workers, reader)
    if what == "event":
        statement = "update dbos.workflow_events set value = '1', serialization = 'portable_json'"
        insert(workers, statement)
    again = result_of(workers, replayed(workers, reader))

    assert told == again
    assert told[0].startswith(REFUSAL)
    assert told[1] == "True"
    assert not mark.exists()


@pytest.mark.parametrize("column", ["output", "error"])
def test_what_is_recorded_of_a_step_is_not_unpickled(
    workers: Fleet, mark: Path, pickled: str, column: str
) -> None:
    """The run that replays it fails with a clear error."""
    workers.start()
    run = workers.enqueue("steps_once")
    workers.wait_until_finished()
    values = (pickled, None) if column == "output" else (None, pickled)
    statement = "update dbos.operation_outputs set serialization = 'py_pickle'"
    insert(workers, f"{statement}, output = %s, error = %s", *values)

    fork = replayed(workers, run)

    assert error_of(workers, fork)[0] == "ERROR"
    assert REFUSAL.partition(": ")[2] in error_of(workers, fork)[1]
    assert not mark.exists()


def test_workers_write_no_pickle_either(workers: Fleet) -> None:
    """Also when the code of a workflow asks for one."""
    workers.start()
    run = workers.enqueue("pickles")
    workers.wait_until_finished()

    assert "nothing is stored as 'py_pickle'" in error_of(workers, run)[1]


def test_listing_a_pickled_run_reads_nothing_of_it(
    workers: Fleet, finished: str, mark: Path, pickled: str
) -> None:
    """A workflow that asks for the status of another is given its texts."""
    workers.query("update dbos.workflow_output set output = %s returning 1", pickled)
    update(workers.database, finished, serialization="py_pickle", inputs=pickled)

    asks = workers.enqueue("asks_status", workflow_id=finished)
    workers.wait_until_finished()

    assert workers.status(asks) == "SUCCESS"
    assert not mark.exists()


@pytest.mark.parametrize("serialization", ["py_pickle", "portable_json"])
def test_adopting_a_pickled_run_reads_nothing_of_it(
    workers: Fleet, mark: Path, pickled: str, serialization: str
) -> None:
    """Neither its arguments nor a step; it stays where it is."""
    first = workers.start(APP_VERSION="1")
    run = workers.enqueue("steps_once")
    workers.wait_until_finished()
    first.stop(signal.SIGTERM)
    workers.start(APP_VERSION="2").stop(signal.SIGTERM)
    update(workers.database, run, status="ENQUEUED", inputs=pickled, serialization=serialization)
    statement = "update dbos.operation_outputs set output = %s, serialization = 'py_pickle'"
    insert(workers, statement, pickled)

    adopt = workers.begin("adopt", "1", APP_VERSION="2")
    code = adopt.popen.wait(DEADLINE)

    assert code == 0, adopt.said()
    assert f"{run} steps_once ENQUEUED stays: what it has recorded is py_pickle" in adopt.said()
    assert not mark.exists()
