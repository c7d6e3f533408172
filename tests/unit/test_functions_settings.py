"""What the functions can be told, and how they refuse it."""

import pytest

from functions.errors import BadSetting
from functions.settings import Settings

URL = "postgresql://someone:secret@host/database"

DIGEST = "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683"

NONE = {"DBOS_SYSTEM_DATABASE_URL": URL, "AUTH": "none"}

API_KEY = {
    "DBOS_SYSTEM_DATABASE_URL": URL,
    "AUTH": "api_key",
    "API_KEYS": f'{{"alice": "{DIGEST}"}}',
}

JWT = {
    "DBOS_SYSTEM_DATABASE_URL": URL,
    "AUTH": "jwt",
    "JWT_ISSUER": "https://login.example.com/",
    "JWT_AUDIENCE": "dbos-functions",
    "JWT_JWKS_URL": "https://login.example.com/.well-known/jwks.json",
}


def test_defaults_need_only_a_database_and_a_policy() -> None:
    """Everything else has a default."""
    settings = Settings.from_env({"DBOS_SYSTEM_DATABASE_URL": URL, "AUTH": "none"})

    assert (settings.app_name, settings.pool_size, settings.status_url) == (
        "dbos-functions",
        5,
        "/status",
    )
    assert (settings.cors_origins, settings.events_seconds) == ((), 55)
    assert (settings.max_result_bytes, settings.max_value_bytes) == (4 * 1024**2, 1024**2)


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
        ("AUTH", "API_KEY"),
        ("APP_NAME", "My App"),
        ("POOL_SIZE", "0"),
        ("POOL_SIZE", "many"),
        ("MAX_RESULT_BYTES", "1023"),
        ("MAX_RESULT_BYTES", "4MiB"),
        ("MAX_VALUE_BYTES", "268435457"),
        ("CORS_ORIGINS", "app.example.com"),
        ("CORS_ORIGINS", "https://app.example.com/"),
        ("CORS_ORIGINS", "https://app.example.com/path"),
        ("CORS_ORIGINS", "https://App.example.com"),
        ("CORS_ORIGINS", "https://*.example.com"),
        ("CORS_ORIGINS", "https://app.example.com https://example.com"),
        ("CORS_ORIGINS", "https://app.example.com, *"),
        ("CORS_ORIGINS", "null"),
        ("EVENTS_SECONDS", "0"),
        ("EVENTS_SECONDS", "inf"),
        ("EVENTS_SECONDS", "nan"),
        ("EVENTS_SECONDS", "long"),
    ],
)
def test_a_bad_setting_is_refused_by_name(variable: str, value: str) -> None:
    """The message starts with the variable."""
    environ = {"DBOS_SYSTEM_DATABASE_URL": URL, "AUTH": "none"} | {variable: value}

    with pytest.raises(BadSetting, match=f"^{variable} must be"):
        Settings.from_env(environ)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("API_KEYS", ""),
        ("API_KEYS", "alice"),
        ("API_KEYS", "{}"),
        ("API_KEYS", f'["{DIGEST}"]'),
        ("API_KEYS", "[" * 100_000),
        ("API_KEYS", '{"alice": 1}'),
        ("API_KEYS", '{"alice": "the key itself"}'),
        ("API_KEYS", f'{{"": "{DIGEST}"}}'),
        ("API_KEYS", f'{{"a\\u0000": "{DIGEST}"}}'),
        ("API_KEYS", f'{{"alice": "{DIGEST}", "bob": "{DIGEST.upper()}"}}'),
        ("ADMINS", "bob"),
        ("ADMINS", "alice, bob"),
    ],
)
def test_bad_api_keys_are_refused_by_name(variable: str, value: str) -> None:
    """Without telling what they are."""
    with pytest.raises(BadSetting, match=f"^{variable} must be") as refused:
        Settings.from_env(API_KEY | {variable: value})

    assert "the key itself" not in str(refused.value)
    assert DIGEST not in str(refused.value)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("JWT_ISSUER", ""),
        ("JWT_AUDIENCE", ""),
        ("JWT_JWKS_URL", ""),
        ("JWT_JWKS_URL", "login.example.com/keys"),
        ("JWT_JWKS_URL", "file:///keys"),
        ("JWT_JWKS_URL", "https:///keys"),
        ("JWT_JWKS_URL", "https://login.example.com:port/keys"),
        ("JWT_JWKS_URL", "https://[::1/keys"),
        ("JWT_JWKS_URL", "https://login.example.com/a key"),
        ("JWT_JWKS_URL", "http://login.example.com/keys"),
        ("JWT_JWKS_URL", "http://127.0.0.1.example.com/keys"),
    ],
)
def test_a_bad_issuer_is_refused_by_name(variable: str, value: str) -> None:
    """Keys come over a connection that nobody can listen to or change."""
    with pytest.raises(BadSetting, match=f"^{variable} must be"):
        Settings.from_env(JWT | {variable: value})


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1", "[::1]:80"])
def test_an_issuer_on_this_machine_needs_no_https(host: str) -> None:
    """For development."""
    url = f"http://{host}/keys"

    assert Settings.from_env(JWT | {"JWT_JWKS_URL": url}).jwt_jwks_url == url


def test_companions_of_another_policy_are_not_looked_at() -> None:
    """One environment may hold those of several."""
    other = {"API_KEYS": "x", "ADMINS": "x, y", "JWT_JWKS_URL": "", "JWT_ISSUER": ""}

    assert Settings.from_env(NONE | other).api_keys == {}
    assert Settings.from_env(JWT | {"API_KEYS": "x", "ADMINS": " x,y, "}).admins == {"x", "y"}


def test_origins_are_read_one_by_one() -> None:
    """As browsers send them."""
    origins = "https://app.example.com, http://localhost:3000,https://[::1]:8443,tauri://localhost"

    assert Settings.from_env(NONE | {"CORS_ORIGINS": origins}).cors_origins == (
        "https://app.example.com",
        "http://localhost:3000",
        "https://[::1]:8443",
        "tauri://localhost",
    )
    assert Settings.from_env(NONE | {"CORS_ORIGINS": "*"}).cors_origins == ("*",)


def test_the_keys_are_not_shown() -> None:
    """Not even their digests."""
    assert DIGEST not in repr(Settings.from_env(API_KEY))


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
