"""Which version leads when workers, or their leases, come and go."""

import threading
from dataclasses import replace

import psycopg
import pytest

from worker import lease as lease_module
from worker import versions
from worker.lease import Lease
from worker.settings import Settings
from worker.versions import Leadership

OLD_AND_NEW = """
insert into dbos.application_versions (
    version_id, version_name, version_timestamp, created_at, application_name
) values ('a', '1', 1, 1, 'dbos-functions'), ('b', '2', 2, 2, 'dbos-functions')
"""

LEADING = "select version_name from dbos.application_versions order by version_timestamp desc"

END_LEASES = """
select pg_terminate_backend(pid) from pg_stat_activity
where datname = current_database() and application_name like 'dbos-functions lease %'
"""


@pytest.fixture
def old(database: str) -> Settings:
    """Those of a worker of version 1, which version 2 has followed."""
    with psycopg.connect(database) as connection:
        connection.execute(OLD_AND_NEW)
    environ = {"DBOS_SYSTEM_DATABASE_URL": database, "EXECUTOR_ID": "old", "APP_VERSION": "1"}
    return Settings.from_env(environ)


@pytest.fixture
def new(old: Settings) -> Settings:
    """Those of a worker of version 2."""
    return replace(old, executor_id="new", app_version="2")


def leading(settings: Settings) -> str:
    """The version that gets new workflows."""
    with psycopg.connect(settings.database_url) as connection:
        row = connection.execute(LEADING).fetchone()
    assert row
    return str(row[0])


def test_a_failover_makes_no_old_version_lead(old: Settings, new: Settings) -> None:
    """All leases are lost; whoever is back first does not take those who follow for dead."""
    eager = Leadership(replace(old, lead_after=0.0), [])
    looks: list[object] = []
    first, newer = Lease(old), Lease(new)
    newer.take()
    first.take()
    first._taken_at -= lease_module.GRACE  # It has been there for long.
    first._beat([eager])

    with psycopg.connect(old.database_url) as connection:
        connection.execute(END_LEASES)
    with pytest.raises(psycopg.OperationalError):
        first._beat([eager])
    newer.release()
    first.release()
    first._take_back()
    first._beat([eager, looks.append])
    at_once = list(looks)
    newer.take()
    while not looks:
        first._beat([eager, looks.append])
    first.release()
    newer.release()

    assert at_once == []
    assert leading(old) == "2"


def test_time_without_looks_does_not_count_as_time_alone(
    old: Settings, new: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows who was alive meanwhile, so the count starts again."""
    monkeypatch.setattr(versions, "UNSEEN", 0.2)
    leadership = Leadership(replace(old, lead_after=0.3), [])
    unseen = threading.Event()
    with psycopg.connect(old.database_url, autocommit=True) as connection:
        leadership(connection)

        unseen.wait(0.5)
        leadership(connection)
        after_a_pause = leading(old)
        while leading(old) != "1":
            leadership(connection)

    assert after_a_pause == "2"


def test_a_lost_lease_starts_the_count_again() -> None:
    """GRACE lies between the looks before and after it was lost, and that is too long."""
    assert versions.UNSEEN <= lease_module.GRACE
