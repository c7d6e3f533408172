"""A step begins only where its workflow belongs."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import psycopg
import pytest
from dbos import error as dbos_error

from worker.lease import Lease
from worker.ownership import Owner, Ownership
from worker.settings import Settings

Guarded = Callable[[str | Owner], None]


class Row:
    """The row of the workflow `w`: who owns it, and how often that was asked."""

    def __init__(self, database: str) -> None:
        self.database = database
        self.asked = 0
        with psycopg.connect(database) as connection:
            connection.execute(
                "insert into dbos.workflow_status (workflow_uuid, status, owner_xid)"
                " values ('w', 'PENDING', 'ours')"
            )

    def owner(self, workflow: str) -> str | None:
        """Who owns it."""
        self.asked += 1
        query = "select owner_xid from dbos.workflow_status where workflow_uuid = %s"
        with psycopg.connect(self.database) as connection:
            found = connection.execute(query, (workflow,)).fetchone()
        return str(found[0]) if found else None

    def take_over(self) -> None:
        """Give it to somebody else."""
        with psycopg.connect(self.database) as connection:
            connection.execute("update dbos.workflow_status set owner_xid = 'theirs'")


@pytest.fixture
def row(database: str) -> Row:
    """A workflow that is being executed."""
    return Row(database)


@pytest.fixture
def lease(database: str) -> Iterator[Lease]:
    """The lease of this process, held."""
    lease = Lease(Settings.from_env({"DBOS_SYSTEM_DATABASE_URL": database}))
    lease.take()
    yield lease
    lease.release()


@pytest.fixture(params=["sync", "async"])
def begin(request: pytest.FixtureRequest, lease: Lease, row: Row) -> Guarded:
    """Begins a step for an owner of `w`."""

    def step() -> None: ...

    async def step_async() -> None: ...

    def begin_step(owner: str | Owner) -> None:
        context = SimpleNamespace(workflow_id="w", owner_xid=owner)
        ownership = Ownership(lease)
        if request.param == "sync":
            ownership.guard(step, context, row.owner)()
        else:
            asyncio.run(ownership.guard(step_async, context, row.owner)())

    return begin_step


def test_a_step_begins_without_a_question_while_the_lease_is_held(
    lease: Lease, row: Row, begin: Guarded
) -> None:
    """As it was not lost since the claim, nobody else can have the workflow."""
    begin(Owner("ours", lease.session))

    assert row.asked == 0


def test_after_a_loss_of_the_lease_the_row_is_asked_once(
    lease: Lease, row: Row, begin: Guarded
) -> None:
    """The next step is begun without a question again."""
    owner = Owner("ours", lease.session)
    lease.release()
    lease.take()

    begin(owner)
    begin(owner)

    assert row.asked == 1


def test_no_step_begins_when_another_has_taken_the_workflow_over(
    lease: Lease, row: Row, begin: Guarded
) -> None:
    """DBOS then waits for the result of that one."""
    owner = Owner("ours", lease.session)
    lease.release()
    row.take_over()
    lease.take()

    with pytest.raises(dbos_error.DBOSWorkflowConflictIDError):
        begin(owner)


def test_who_was_not_remembered_is_asked_for(row: Row, begin: Guarded) -> None:
    """An owner that somebody else has generated."""
    begin("ours")
    row.take_over()

    with pytest.raises(dbos_error.DBOSWorkflowConflictIDError):
        begin("ours")
    assert row.asked == 2


def test_a_step_waits_until_the_lease_is_back(lease: Lease, row: Row, begin: Guarded) -> None:
    """Without one, it could be taken over at any moment."""
    owner = Owner("ours", lease.session)
    lease.release()
    beginning = threading.Thread(target=begin, args=(owner,))
    beginning.start()

    beginning.join(0.6)
    waiting = beginning.is_alive()
    lease.take()
    beginning.join()

    assert waiting
    assert row.asked == 1


def test_what_begins_a_workflow_remembers_the_session(lease: Lease) -> None:
    """That of before, as the lease may be lost while it does so."""

    def init(_: None, context: SimpleNamespace) -> None:
        context.owner_xid = "ours"
        lease.release()
        lease.take()

    context = SimpleNamespace(owner_xid=None)
    before = lease.session

    Ownership(lease).starting(init)(None, context)
    claimed = Ownership(lease).claiming(lambda: "ours")()

    assert (context.owner_xid, context.owner_xid.session) == ("ours", before)
    assert (claimed, claimed.session) == ("ours", before + 1)
