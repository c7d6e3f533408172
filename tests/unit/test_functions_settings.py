"""What the functions can be told, and how they refuse it."""

import pytest

from functions.errors import BadSetting
from functions.settings import Settings

URL = "postgresql://someone:secret@host/database"


def test_defaults_need_only_a_database_and_a_policy() -> None:
    """Everything else has a default."""
    settings = Settings.from_env({"DBOS_SYSTEM_DATABASE_URL": URL, "AUTH": "none"})

    assert (settings.app_name, settings.pool_size, settings.status_url) == (
        "dbos-functions",
        5,
        "/status",
    )


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DBOS_SYSTEM_DATABASE_URL", ""),
        ("DBOS_SYSTEM_DATABASE_URL", "mysql://host/database"),
        ("DBOS_SYSTEM_DATABASE_URL", "postgresql://host"),
        ("DBOS_SYSTEM_DATABASE_URL", "postgresql://host/?sslmode=require"),
        ("DBOS_SYSTEM_DATABASE_URL", "postgresql://host:port/database"),
        ("DBOS_SYSTEM_DATABASE_URL", "postgresql://user:100%@host/database"),
        ("DBOS_SYSTEM_DATABASE_URL", "postgresql://host/database?unknown=1"),
        ("AUTH", ""),
        ("AUTH", "None"),
        ("AUTH", "api_key"),
        ("APP_NAME", "My App"),
        ("POOL_SIZE", "0"),
        ("POOL_SIZE", "many"),
    ],
)
def test_a_bad_setting_is_refused_by_name(variable: str, value: str) -> None:
    """The message starts with the variable."""
    environ = {"DBOS_SYSTEM_DATABASE_URL": URL, "AUTH": "none"} | {variable: value}

    with pytest.raises(BadSetting, match=f"^{variable} must be"):
        Settings.from_env(environ)


def test_the_password_is_not_shown() -> None:
    """Neither in the settings nor in what is said of a bad URL."""
    settings = Settings.from_env({"DBOS_SYSTEM_DATABASE_URL": URL, "AUTH": "none"})
    with pytest.raises(BadSetting) as refused:
        Settings.from_env({"DBOS_SYSTEM_DATABASE_URL": f"x{URL}", "AUTH": "none"})

    assert "secret" not in repr(settings) + str(refused.value)


def test_status_url_loses_its_last_slash() -> None:
    """The id is appended with a slash of its own."""
    environ = {
        "DBOS_SYSTEM_DATABASE_URL": URL,
        "AUTH": "none",
        "STATUS_URL": "https://host/status/",
    }

    assert Settings.from_env(environ).status_url == "https://host/status"
