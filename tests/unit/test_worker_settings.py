"""What the worker can be told, and how it refuses it."""

import socket

import pytest
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import create_engine, make_url

from worker.errors import BadSetting
from worker.settings import Settings

URL = "postgresql://someone:secret@host/database"


def test_defaults_need_only_a_database() -> None:
    """Everything else has one; the executor id says where the worker runs."""
    settings = Settings.from_env({"DBOS_SYSTEM_DATABASE_URL": URL})

    assert settings == Settings(
        database_url=URL,
        app_name="dbos-functions",
        app_version="1",
        executor_id=settings.executor_id,
        polling_interval=0.1,
        drain_timeout=25.0,
        max_takeovers=5,
        migrate=True,
        retention_days=None,
        health_port=None,
        otlp_endpoint=None,
        lead_after=60.0,
    )
    assert settings.executor_id.startswith(f"{socket.gethostname()}-")


def test_every_worker_has_an_executor_id_of_its_own() -> None:
    """Also two on one host."""
    ids = {Settings.from_env({"DBOS_SYSTEM_DATABASE_URL": URL}).executor_id for _ in range(100)}

    assert len(ids) == 100


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DBOS_SYSTEM_DATABASE_URL", ""),
        ("DBOS_SYSTEM_DATABASE_URL", "sqlite:///x"),
        ("DBOS_SYSTEM_DATABASE_URL", "postgresql://host/?sslmode=require"),
        ("DBOS_SYSTEM_DATABASE_URL", "postgresql://host:port/database"),
        ("DBOS_SYSTEM_DATABASE_URL", "postgresql://user:100%@host/database"),
        ("APP_NAME", "ab"),
        ("POLLING_INTERVAL", "0"),
        ("POLLING_INTERVAL", "soon"),
        ("DRAIN_TIMEOUT", "-1"),
        ("DRAIN_TIMEOUT", "inf"),
        ("DRAIN_TIMEOUT", "1e10"),
        ("EXECUTOR_ID", "with space"),
        ("MAX_TAKEOVERS", "0"),
        ("MAX_TAKEOVERS", "1.5"),
        ("MIGRATE", "no"),
        ("RETENTION_DAYS", "0"),
        ("RETENTION_DAYS", "nan"),
        ("HEALTH_PORT", "65536"),
        ("APP_VERSION", "1 2"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
        ("LEAD_AFTER", "-1"),
    ],
)
def test_a_bad_setting_is_refused_by_name(variable: str, value: str) -> None:
    """The message starts with the variable."""
    with pytest.raises(BadSetting, match=f"^{variable} must be"):
        Settings.from_env({"DBOS_SYSTEM_DATABASE_URL": URL} | {variable: value})


def test_the_short_scheme_is_understood() -> None:
    """Hosted databases hand out postgres:// URLs, which SQLAlchemy does not take."""
    settings = Settings.from_env({"DBOS_SYSTEM_DATABASE_URL": "postgres://host/database"})

    assert settings.database_url == "postgresql://host/database"


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


@pytest.mark.parametrize("url", HANDED_OUT)
def test_a_url_is_taken_as_providers_hand_it_out(url: str) -> None:
    """And psycopg is told by SQLAlchemy what it would have read in the URL itself."""
    settings = Settings.from_env({"DBOS_SYSTEM_DATABASE_URL": url})

    made = make_url(settings.database_url).set(drivername="postgresql+psycopg")
    _, arguments = create_engine(made).dialect.create_connect_args(made)
    told = {name: str(value) for name, value in arguments.items() if name != "context"}
    assert told == conninfo_to_dict(url)


@pytest.mark.parametrize("parameter", ["pgbouncer=true", "connection_limit=1"])
def test_what_only_other_drivers_understand_is_refused_by_name(parameter: str) -> None:
    """Prisma wants it in the URL, for example."""
    environ = {"DBOS_SYSTEM_DATABASE_URL": f"{URL}?sslmode=require&{parameter}"}

    with pytest.raises(BadSetting) as refused:
        Settings.from_env(environ)

    assert str(refused.value) == (
        f"DBOS_SYSTEM_DATABASE_URL must be without {parameter.partition('=')[0]}=, "
        "which is no parameter of PostgreSQL's"
    )


def test_the_password_is_not_shown() -> None:
    """The settings can be logged."""
    assert "secret" not in repr(Settings.from_env({"DBOS_SYSTEM_DATABASE_URL": URL}))
