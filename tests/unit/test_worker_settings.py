"""What the worker can be told, and how it refuses it."""

import socket

import pytest

from worker.errors import BadSetting
from worker.settings import Settings

URL = "postgresql://someone:secret@host/database"


def test_defaults_need_only_a_database() -> None:
    """The executor id is the host's name, so a worker that is started again goes on."""
    settings = Settings.from_env({"DBOS_SYSTEM_DATABASE_URL": URL})

    assert settings == Settings(
        database_url=URL,
        app_name="dbos-functions",
        app_version="1",
        executor_id=socket.gethostname(),
        polling_interval=0.1,
        drain_timeout=25.0,
    )


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
