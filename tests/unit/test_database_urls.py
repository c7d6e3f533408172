"""`DBOS_SYSTEM_DATABASE_URL`, as both deployables read it."""

import pytest
from dbos._dbos_config import is_valid_database_url
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import create_engine, make_url

from functions.errors import BadSetting as FunctionsBadSetting
from functions.settings import Settings as FunctionsSettings
from worker.errors import BadSetting as WorkerBadSetting
from worker.settings import Settings as WorkerSettings

HANDED_OUT = [
    "postgres://user:secret@host/database",
    "postgresql://user:secret@host/database?sslmode=require&channel_binding=require",
    "postgresql://user:secret@host/database?sslmode=verify-full&sslrootcert=/etc/ssl/ca.pem",
    "postgresql://user:s%2Fe%40c%3Ar%25t@host:6543/database",
    "postgresql://user.project:secret@[2001:db8::1]:5432/database",
    "postgresql://user:secret@/database?host=/cloudsql/project:region:instance",
    "postgresql://user:secret@host/database?options=endpoint%3Dname",
]
"""In the forms of Neon, Supabase, Cloud SQL, RDS and others."""

Settings = type[FunctionsSettings] | type[WorkerSettings]

deployables = pytest.mark.parametrize(
    "settings", [FunctionsSettings, WorkerSettings], ids=["functions", "worker"]
)


@deployables
@pytest.mark.parametrize("url", HANDED_OUT)
def test_a_url_is_taken_as_providers_hand_it_out(settings: Settings, url: str) -> None:
    """And psycopg is told by SQLAlchemy what it would have read in the URL itself."""
    read = settings.from_env({"DBOS_SYSTEM_DATABASE_URL": url, "AUTH": "none"})

    made = make_url(read.database_url).set(drivername="postgresql+psycopg")
    _, arguments = create_engine(made).dialect.create_connect_args(made)
    told = {name: str(value) for name, value in arguments.items() if name != "context"}
    assert told == conninfo_to_dict(url)


@deployables
@pytest.mark.parametrize("parameter", ["pgbouncer=true", "connection_limit=1"])
def test_what_only_other_drivers_understand_is_refused_by_name(
    settings: Settings, parameter: str
) -> None:
    """Prisma wants it in the URL, for example."""
    url = f"postgresql://someone:secret@host/database?sslmode=require&{parameter}"

    with pytest.raises((FunctionsBadSetting, WorkerBadSetting)) as refused:
        settings.from_env({"DBOS_SYSTEM_DATABASE_URL": url, "AUTH": "none"})

    assert str(refused.value) == (
        f"DBOS_SYSTEM_DATABASE_URL must be without {parameter.partition('=')[0]}=, "
        "which is no parameter of PostgreSQL's"
    )


SEVERAL_HOSTS = {
    "postgresql://user@a:5432,b:5432/app": {"port": "5432,5432"},
    "postgres://user@a,b/app": {"port": ","},
    "postgresql://user@a:5433,b/app": {"port": "5433,"},
    "postgresql://user@a,b/app?port=6432": {"port": "6432,6432"},
    "postgresql://user@/app?host=a,b&port=1,2": {"port": "1,2"},
    "postgresql://user@/app?host=a,b": {"port": ","},
    "postgresql://user@[2001:db8::1]:1,[::2]:2/app": {"host": "2001:db8::1,::2", "port": "1,2"},
    "postgresql://user@%2Frun%2Fa,%2Frun%2Fb/app": {"host": "/run/a,/run/b", "port": ","},
    "postgresql://user:s%2Fe%40c%2C%25%20+t@a,b/app": {"password": "s/e@c,% +t", "port": ","},
    "postgresql://user@a,b/app?options=-c%20geqo%3Doff": {"options": "-c geqo=off", "port": ","},
    "postgresql://user@a,b/app?target_session_attrs=any": {
        "target_session_attrs": "any",
        "port": ",",
    },
}
"""What libpq reads in URLs with several hosts, beside user, host, database and what is wanted."""


@deployables
@pytest.mark.parametrize("url", SEVERAL_HOSTS)
def test_a_url_may_name_several_hosts(settings: Settings, url: str) -> None:
    """Psycopg, SQLAlchemy and DBOS read in it what libpq does, and look for the primary."""
    read = settings.from_env({"DBOS_SYSTEM_DATABASE_URL": url, "AUTH": "none"}).database_url

    made = make_url(read).set(drivername="postgresql+psycopg")
    _, arguments = create_engine(made).dialect.create_connect_args(made)
    told = {name: str(value) for name, value in arguments.items() if name != "context"}
    expected = {"user": "user", "host": "a,b", "dbname": "app"} | SEVERAL_HOSTS[url]
    expected = {"target_session_attrs": "read-write"} | expected
    assert conninfo_to_dict(read) == expected
    assert {"port": ","} | told == expected
    assert is_valid_database_url(read)


@deployables
@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:secret@a:x,b/app",
        "postgresql://user:secret@a,b/app?port=1,2,3",
        "postgresql://user:secret@a,b",
        "postgresql://user:secret@[::1,b/app",
    ],
)
def test_a_url_with_several_hosts_that_cannot_be_meant_is_refused(
    settings: Settings, url: str
) -> None:
    """Its password is not repeated."""
    with pytest.raises((FunctionsBadSetting, WorkerBadSetting)) as refused:
        settings.from_env({"DBOS_SYSTEM_DATABASE_URL": url, "AUTH": "none"})

    assert str(refused.value) == (
        "DBOS_SYSTEM_DATABASE_URL must be set to a URL like "
        "postgresql://user:password@host:5432/database"
    )
