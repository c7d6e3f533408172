"""The functions' settings: environment variables, read once per instance."""

import math
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Self
from urllib.parse import quote, urlencode

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from . import policy
from .errors import BadSetting

MAX_RESULT_BYTES = 4 * 1024 * 1024
"""What a worker lets a workflow return; it is read as a whole, and several at once."""

MAX_VALUE_BYTES = 1024 * 1024
"""What a worker lets a workflow tell, and as much as a body may have."""

SMALLEST_LIMIT_BYTES, LARGEST_LIMIT_BYTES = 1024, 256 * 1024 * 1024
"""A text of Postgres has at most 1 GiB, and this process holds it several times."""


@dataclass(frozen=True)
class Settings:
    """Everything the functions can be told."""

    database_url: str = field(repr=False)
    auth: str
    api_keys: Mapping[str, str] = field(repr=False)
    admins: frozenset[str]
    jwt_issuer: str
    jwt_audience: str
    jwt_jwks_url: str = field(repr=False)
    cors_origins: tuple[str, ...]
    app_name: str
    pool_size: int
    status_url: str
    events_seconds: float
    max_result_bytes: int
    """How large the JSON of a result may be that is read and shown."""
    max_value_bytes: int
    """How large that of an event, of a signal or of a value in a stream may be."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Read the settings from `environ`; raises BadSetting, which names the variable."""
        return cls(
            database_url=_database_url(environ),
            auth=policy.auth(environ),
            api_keys=policy.api_keys(environ),
            admins=policy.admins(environ),
            jwt_issuer=policy.jwt(environ, "JWT_ISSUER"),
            jwt_audience=policy.jwt(environ, "JWT_AUDIENCE"),
            jwt_jwks_url=policy.jwks_url(environ),
            cors_origins=policy.cors_origins(environ),
            app_name=_app_name(environ),
            pool_size=_pool_size(environ),
            status_url=(environ.get("STATUS_URL") or "/status").rstrip("/"),
            events_seconds=_events_seconds(environ),
            max_result_bytes=_bytes(environ, "MAX_RESULT_BYTES", MAX_RESULT_BYTES),
            max_value_bytes=_bytes(environ, "MAX_VALUE_BYTES", MAX_VALUE_BYTES),
        )


@cache
def settings() -> Settings:
    """The settings of this instance; one that is missing or bad ends the process with its name."""
    try:
        return Settings.from_env(os.environ)
    except BadSetting as error:
        sys.exit(f"functions: {error}")


def _database_url(environ: Mapping[str, str]) -> str:
    url = environ.get("DBOS_SYSTEM_DATABASE_URL", "")
    try:
        url = several_hosts(url)
        usable = bool(re.match("postgres(ql)?://", url) and make_url(url).database)
    except (ProgrammingError, ArgumentError, ValueError) as error:
        if unknown := re.search(r'URI query parameter: "(\w+)"', str(error)):
            raise BadSetting(
                f"DBOS_SYSTEM_DATABASE_URL must be without {unknown[1]}=, which is no parameter "
                "of PostgreSQL's"
            ) from error
        usable = False
    if not usable:
        raise BadSetting(
            "DBOS_SYSTEM_DATABASE_URL must be set to a URL like "
            "postgresql://user:password@host:5432/database"
        )
    return url


def several_hosts(url: str) -> str:
    """Write a URL with several hosts, in one of libpq's forms, in the form that SQLAlchemy takes.

    `user@a:1,b/app` becomes `user@/app?host=a,b&port=1,`. Of the hosts, the one is wanted that can
    be written to, if the URL does not say which. Raises ProgrammingError and ValueError.
    """
    told = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    hosts = told.get("host", "").split(",")
    if len(hosts) == 1:
        return url
    ports = told.get("port", "").split(",")
    if len(ports) == 1:
        ports *= len(hosts)
    if len(ports) != len(hosts) or not re.fullmatch("[0-9,]*", "".join(ports)):
        raise ValueError("a port for each host, or one for all")
    told["port"] = ",".join(ports)
    user, password, database = (
        quote(told.pop(name, ""), safe="") for name in ("user", "password", "dbname")
    )
    query = urlencode({"target_session_attrs": "read-write"} | told, quote_via=quote)
    return f"postgresql://{user}:{password}@/{database}?{query}"


def _app_name(environ: Mapping[str, str]) -> str:
    name = environ.get("APP_NAME") or "dbos-functions"
    if not re.fullmatch(r"[a-z0-9_-]{3,256}", name):
        raise BadSetting("APP_NAME must be 3 to 256 lowercase letters, digits, dashes, underscores")
    return name


def _pool_size(environ: Mapping[str, str]) -> int:
    size = environ.get("POOL_SIZE") or "5"
    if not re.fullmatch(r"[1-9][0-9]{0,3}", size):
        raise BadSetting("POOL_SIZE must be a number of database connections, 1 or more")
    return int(size)


def _events_seconds(environ: Mapping[str, str]) -> float:
    try:
        seconds = float(environ.get("EVENTS_SECONDS") or "55")
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise BadSetting("EVENTS_SECONDS must be a number of seconds, more than 0")
    return seconds


def _bytes(environ: Mapping[str, str], variable: str, default: int) -> int:
    text = environ.get(variable) or str(default)
    if not re.fullmatch("[0-9]{1,9}", text) or not (
        SMALLEST_LIMIT_BYTES <= int(text) <= LARGEST_LIMIT_BYTES
    ):
        raise BadSetting(
            f"{variable} must be a whole number from {SMALLEST_LIMIT_BYTES} to "
            f"{LARGEST_LIMIT_BYTES}"
        )
    return int(text)
