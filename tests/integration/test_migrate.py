"""What `migrate` adds to DBOS's own tables."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from dbos import DBOS
from psycopg.errors import InsufficientPrivilege

from local_dev.bench.processes import wait_until
from local_dev.bench.stage import enqueue
from tests.conftest import acting
from worker.errors import CodePlanted
from worker.migrate import migrate


def indexed(database: str) -> bool:
    """Whether the workflows of a caller can be found without reading all."""
    with psycopg.connect(database) as connection:
        index = connection.execute("select to_regclass('dbos.workflow_status_callers')").fetchone()
    return index != (None,)


def test_a_new_database_has_an_index_of_callers(database: str) -> None:
    """Nobody has to think of it."""
    assert indexed(database)


def test_an_index_of_a_large_table_is_left_to_its_owner(database: str) -> None:
    """To build it would keep everybody waiting."""
    with psycopg.connect(database) as connection:
        connection.execute("drop index dbos.workflow_status_callers")
    enqueue(database, 100_000)

    migrate(database)
    built = indexed(database)
    with psycopg.connect(database) as connection:
        connection.execute("drop index if exists dbos.workflow_status_callers")
    enqueue(database, 1)
    migrate(database)

    assert built
    assert not indexed(database)


LATER = {"workflows": ["signals", "partitioned", "source_digest"], "suspects": ["doubtful_deaths"]}
"""The columns of the catalog that its tables have not had from the start."""


def test_tables_of_an_earlier_release_get_what_they_lack(database: str) -> None:
    """A table that is there is not created anew."""
    lacking = [(table, column) for table, columns in LATER.items() for column in columns]
    with psycopg.connect(database) as connection:
        for table, column in lacking:
            connection.execute(f"alter table catalog.{table} drop column {column}".encode())

    migrate(database)

    with psycopg.connect(database) as connection:
        rows = connection.execute(
            "select table_name, column_name from information_schema.columns "
            "where table_schema = 'catalog'"
        ).fetchall()
    assert set(lacking) <= set(rows)


def execute(database: str, *statements: str) -> None:
    """Execute statements, one transaction each."""
    with psycopg.connect(database, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def migrate_as_before(database: str, worker_role: str) -> None:
    """What releases before have granted: all, also on tables to come."""
    migrate(database)
    DBOS.migrate(database, application_role=worker_role)


PLANT = (
    "create schema if not exists planted",
    "create or replace function planted.run() returns trigger language plpgsql as "
    "$$ begin execute format('alter role %I superuser', tg_argv[0]); return new; end $$",
    "grant usage on schema planted to public",
)
"""A function that makes a role superuser, if a superuser migrates."""

BAIT = (
    "update dbos.dbos_migrations set version = version - 1",
    "update dbos.dbos_migrations set version = version + 1",
)
"""What a migration writes."""


def trigger(name: str, table: str, role: str) -> str:
    """The statement that plants it."""
    return (
        f"create trigger {name} after insert or update on {table} "
        f"for each row execute function planted.run('{role}')"
    )


def is_superuser(database: str, role: str) -> bool:
    """Whether a role has become superuser."""
    with psycopg.connect(database) as connection:
        statement = "select rolsuper from pg_roles where rolname = %s"
        return connection.execute(statement, (role,)).fetchone() == (True,)


@pytest.mark.parametrize(
    "table", ["dbos.dbos_migrations", "dbos.notifications", "catalog.workflows"]
)
def test_a_planted_trigger_is_refused_before_anything_is_written(
    empty_database: str, roles: tuple[str, str], table: str
) -> None:
    """By its name and its table, and how to get rid of it; then all is well."""
    worker_role, functions_role = roles
    migrate_as_before(empty_database, worker_role)
    execute(empty_database, *PLANT, f"grant trigger on {table} to {worker_role}")
    execute(empty_database, f"grant usage on schema catalog to {worker_role}")
    execute(acting(worker_role, empty_database), trigger("dbos_trigger", table, worker_role))
    execute(empty_database, "alter table dbos.dbos_migrations disable trigger user", BAIT[0])
    execute(empty_database, "alter table dbos.dbos_migrations enable trigger user")

    with pytest.raises(CodePlanted) as refusal:
        migrate(empty_database, worker_role=worker_role, functions_role=functions_role)

    assert not is_superuser(empty_database, worker_role)
    assert str(refusal.value).startswith(f"the trigger dbos_trigger on {table} may run code")
    remedy = str(refusal.value).rpartition(", then ")[2]
    assert remedy == f"drop trigger dbos_trigger on {table}"
    execute(empty_database, remedy)
    migrate(empty_database, worker_role=worker_role, functions_role=functions_role)


def test_a_trigger_that_replaces_one_of_dbos_is_refused(
    empty_database: str, roles: tuple[str, str]
) -> None:
    """It has name, table and function of that, and a condition that runs code."""
    worker_role, _ = roles
    migrate_as_before(empty_database, worker_role)
    execute(
        empty_database,
        "create schema planted",
        "create function planted.run() returns bool language sql as 'select true'",
        "grant usage on schema planted to public",
    )
    execute(
        acting(worker_role, empty_database),
        "create or replace trigger dbos_notifications_trigger after insert on dbos.notifications "
        "for each row when (planted.run()) execute function dbos.notifications_function()",
    )

    with pytest.raises(CodePlanted, match="the trigger dbos_notifications_trigger on"):
        migrate(empty_database, worker_role=worker_role)


def test_a_foreign_key_of_somebody_else_is_refused(
    empty_database: str, roles: tuple[str, str]
) -> None:
    """Its checks run as the owner of the table that it refers to."""
    worker_role, _ = roles
    migrate_as_before(empty_database, worker_role)
    execute(empty_database, f"create schema planted authorization {worker_role}")
    execute(
        acting(worker_role, empty_database),
        "create table planted.mine (a text constraint mine references dbos.workflow_status)",
    )

    with pytest.raises(CodePlanted, match=r"alter table planted\.mine drop constraint mine"):
        migrate(empty_database, worker_role=worker_role)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("alter table dbos.streams owner to {}", "dbos.streams, which worker_.* owns, may run"),
        (
            "alter function dbos.notifications_function() owner to {}",
            r"the function dbos.notifications_function\(\), which worker_.* owns, may run",
        ),
        (
            "create rule mine as on update to dbos.dbos_migrations do also notify {}",
            "the rule mine on dbos.dbos_migrations may run",
        ),
    ],
    ids=["table", "function", "rule"],
)
def test_whatever_else_could_run_as_the_owner_is_refused(
    empty_database: str, roles: tuple[str, str], statement: str, message: str
) -> None:
    """What a role owns, it may change under the migration; a rule runs with each statement."""
    worker_role, _ = roles
    migrate(empty_database)
    execute(empty_database, f"grant create on schema dbos to {worker_role}")
    execute(empty_database, statement.format(worker_role))

    with pytest.raises(CodePlanted, match=message):
        migrate(empty_database, worker_role=worker_role)


def test_a_migration_takes_back_what_earlier_releases_have_granted(
    empty_database: str, roles: tuple[str, str]
) -> None:
    """Also on tables to come, and from a role that is not named any more."""
    worker_role, functions_role = roles
    migrate_as_before(empty_database, worker_role)
    migrate_as_before(empty_database, functions_role)

    migrate(empty_database, worker_role=worker_role)

    execute(empty_database, "create table dbos.later (a int)")
    with psycopg.connect(empty_database) as connection:
        granted = connection.execute(
            "select distinct privilege_type from pg_class c, aclexplode(c.relacl) a "
            "where c.relnamespace = 'dbos'::regnamespace and c.relkind = 'r' "
            "and a.grantee in (%s::regrole, %s::regrole)",
            roles,
        ).fetchall()
        default = connection.execute(
            "select distinct privilege_type from pg_default_acl d, aclexplode(d.defaclacl) a "
            "where d.defaclobjtype = 'r' and a.grantee = %s::regrole",
            (worker_role,),
        ).fetchall()
    rows = {("SELECT",), ("INSERT",), ("UPDATE",), ("DELETE",)}
    assert set(granted) - {("MAINTAIN",)} == rows
    assert set(default) == rows
    as_worker = acting(worker_role, empty_database)
    execute(as_worker, "insert into dbos.later values (1)")
    for statement in ("truncate dbos.later", BAIT[0], trigger("mine", "dbos.later", worker_role)):
        with pytest.raises(InsufficientPrivilege):
            execute(as_worker, statement)


@pytest.mark.parametrize("column", ["forked_from", "rate_limited", "started_at_epoch_ms", "inputs"])
def test_functions_insert_no_more_of_a_run_than_a_launch_does(
    empty_database: str, roles: tuple[str, str], column: str
) -> None:
    """A run that has used up the rate of its queue in the far future would stop that for ever."""
    _, functions_role = roles
    migrate(empty_database)
    execute(empty_database, f"grant insert on dbos.workflow_status to {functions_role}")
    as_functions = acting(functions_role, empty_database)

    migrate(empty_database, functions_role=functions_role)

    insert = "insert into dbos.workflow_status (workflow_uuid, status"
    execute(as_functions, f"{insert}) values ('one', 'ENQUEUED')")
    with pytest.raises(InsufficientPrivilege):
        execute(as_functions, f"{insert}, {column}) values ('two', 'ENQUEUED', null)")


def test_a_trigger_that_is_being_created_is_waited_for_and_refused(
    empty_database: str, roles: tuple[str, str]
) -> None:
    """Its transaction began before the privilege was withdrawn, and may commit after that."""
    worker_role, _ = roles
    migrate_as_before(empty_database, worker_role)
    execute(empty_database, *PLANT)

    with (
        ThreadPoolExecutor() as threads,
        psycopg.connect(acting(worker_role, empty_database)) as connection,
    ):
        statement = trigger("mine", "dbos.dbos_migrations", worker_role)
        connection.execute(statement.encode())
        migration = threads.submit(migrate, empty_database, worker_role=worker_role)
        wait_until(lambda: is_waiting(empty_database))
        connection.commit()

        with pytest.raises(CodePlanted, match=r"the trigger mine on dbos\.dbos_migrations"):
            migration.result()


def is_waiting(database: str) -> bool:
    """Whether a session waits for a lock on the versions of the schema."""
    with psycopg.connect(database) as connection:
        statement = (
            "select exists (select from pg_locks "
            "where relation = 'dbos.dbos_migrations'::regclass and not granted)"
        )
        return connection.execute(statement).fetchone() == (True,)


def test_a_migration_resolves_nothing_in_public(
    empty_database: str, roles: tuple[str, str]
) -> None:
    """Where anybody may create functions that fit better than Postgres's own."""
    worker_role, _ = roles
    execute(empty_database, f"grant create on schema public to {worker_role}")
    execute(
        acting(worker_role, empty_database),
        "create table public.called (a text)",
        "create function public.hashtextextended(text, integer) returns bigint language plpgsql as "
        "$$ begin insert into public.called values ('x'); return 1; end $$",
    )

    for _ in range(2):
        migrate(empty_database, worker_role=worker_role)

    with psycopg.connect(empty_database) as connection:
        called = connection.execute("select count(*) from public.called").fetchone()
    assert called == (0,)
