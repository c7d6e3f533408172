"""What the worker can be told, and how it refuses it."""

import socket

import pytest

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
        lead_after=5.0,
        max_threads=1000,
        max_result_bytes=4 * 1024 * 1024,
        max_value_bytes=1024 * 1024,
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
        ("MAX_RESULT_BYTES", "1023"),
        ("MAX_RESULT_BYTES", "4MiB"),
        ("MAX_VALUE_BYTES", "268435457"),
        ("MIGRATE", "no"),
        ("RETENTION_DAYS", "0"),
        ("RETENTION_DAYS", "nan"),
        ("HEALTH_PORT", "65536"),
        ("APP_VERSION", "1 2"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
        ("LEAD_AFTER", "-1"),
        ("MAX_THREADS", "0"),
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


def test_the_password_is_not_shown() -> None:
    """The settings can be logged."""
    assert "secret" not in repr(Settings.from_env({"DBOS_SYSTEM_DATABASE_URL": URL}))
