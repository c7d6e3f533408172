"""`DBOS_SYSTEM_DATABASE_URL`, as both deployables read it."""

import pytest
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
