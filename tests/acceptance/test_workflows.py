"""The workflows that are shipped do what they say."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from dbos import DBOSClient, DBOSPortableJSONSerializer

from local_dev.bench.processes import wait_until, worker
from tests.calls import finished, launched
from tests.processes import ALL, serve
from tests.project import add_partitioned


@pytest.fixture
def client(database: str) -> Iterator[DBOSClient]:
    """A client that speaks portable JSON."""
    client = DBOSClient(system_database_url=database, serializer=DBOSPortableJSONSerializer())
    yield client
    client.destroy()


def steps(client: DBOSClient, workflow_id: str) -> list[str]:
    """The names of the steps that were executed, without those of DBOS itself."""
    names = [step["function_name"] for step in client.list_workflow_steps(workflow_id)]
    return [name for name in names if not name.startswith("DBOS.")]


def test_an_order_ends_as_its_payment_says(
    root: Path, environ: dict[str, str], client: DBOSClient
) -> None:
    """Paid: shipped. Anything else: cancelled. Nothing in time: expired."""
    with worker(root, environ), serve(ALL, root, environ) as functions:
        paid = launched(functions, "order", item="lamp")
        cancelled = launched(functions, "order", item="lamp")
        expired = launched(functions, "order", item="lamp", payment_timeout=0.1)
        client.send(paid.split("/")[-1], {"paid": True}, topic="payment")
        client.send(cancelled.split("/")[-1], {"paid": False}, topic="payment")
        ends = [finished(functions, url) for url in (paid, cancelled, expired)]

    assert {end["result"]["state"]: steps(client, end["workflow_id"]) for end in ends} == {
        "shipped": ["reserve", "ship"],
        "cancelled": ["reserve", "release"],
        "expired": ["reserve", "release"],
    }
    assert ends[0]["result"]["tracking"].startswith("PARCEL-")
    assert {end["queue"] for end in ends} == {"order_queue"}
    assert [end["progress"]["done"] for end in ends] == [3, 3, 3]


def test_an_order_that_cannot_be_shipped_is_undone(
    project: Path, environ: dict[str, str], client: DBOSClient
) -> None:
    """The money back, then the stock; and the order fails with the carrier's error, of which the
    worker's log has the rest."""
    code = project / "worker" / "workflows" / "order.py"
    source = code.read_text()
    for whole, broken in (
        ('    return f"PARCEL', '    raise OSError("no van")\n    return f"PARCEL'),
        ('name="ship", retries_allowed=True', 'name="ship"'),
    ):
        assert whole in source
        source = source.replace(whole, broken)
    code.write_text(source)
    with worker(project, environ) as process, serve(ALL, project, environ) as functions:
        url = launched(functions, "order")
        client.send(url.split("/")[-1], {"paid": True}, topic="payment")
        end = finished(functions, url)
        log = process.said()

    assert (end["error"]["name"], "no van" in str(end)) == ("OSError", False)
    assert end["error"]["reference"] in log
    assert "OSError: no van" in log
    assert steps(client, end["workflow_id"]) == ["reserve", "ship", "refund", "release"]


def test_a_report_is_written_by_its_children(
    root: Path, environ: dict[str, str], client: DBOSClient
) -> None:
    """Its progress counts them, its stream has their lines."""
    with worker(root, environ), serve(ALL, root, environ) as functions:
        url = launched(functions, "report", title="tests", length=3)
        wait_until(lambda: functions.get(url).json()["progress"])
        end = finished(functions, url)
    lines = list(client.read_stream(end["workflow_id"], "lines"))

    assert lines == [f"{number}. What there is to say about tests" for number in (1, 2, 3)]
    assert end["result"] == {"title": "tests", "lines": lines}
    assert (end["progress"]["done"], end["progress"]["total"]) == (3, 3)


def test_a_partitioned_queue_is_served(project: Path, environ: dict[str, str]) -> None:
    """Declared like any other; each launch names its partition."""
    add_partitioned(project)

    with worker(project, environ), serve(ALL, project, environ) as functions:
        without = functions.post("/launch/tenant", json={"number": 1})
        url = "/launch/tenant?partition_key={}&wait=30"
        ends = [functions.post(url.format(name), json={"number": 1}) for name in ("a", "b", "a")]

    assert without.status_code == 400
    assert "partition_key has to be given" in without.json()["detail"]
    assert [end.json().get("status") for end in ends] == ["SUCCESS"] * 3
