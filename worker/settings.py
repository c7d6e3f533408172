"""The worker's settings: environment variables, read once at start."""

import math
import re
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import quote, urlencode

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from .errors import BadSetting

DAY = 86400.0

MAX_RESULT_BYTES = 4 * 1024 * 1024
"""Size of a result of a workflow or a step: a function reads results as a whole, and several at the
same time."""

MAX_VALUE_BYTES = 1024 * 1024
"""Size of an event, a message or a value of a stream: as much as the functions take in a body."""

EXECUTOR_ID = r"[A-Za-z0-9._:@-]{1,200}"


@dataclass(frozen=True)
class Settings:
    """Everything the worker can be told. Times are in seconds."""

    database_url: str = field(repr=False)
    app_name: str
    app_version: str
    executor_id: str
    polling_interval: float
    drain_timeout: float
    max_takeovers: int
    """How often a workflow may be taken over from a worker that died while it executed it."""
    migrate: bool
    """Whether a worker that starts creates or migrates what it needs in the database."""
    retention_days: float | None
    health_port: int | None
    otlp_endpoint: str | None
    lead_after: float
    """How long no newer version may have had a worker before this one gets new workflows."""
    max_threads: int
    """How many sync workflows, which hold a thread each, may run at the same time."""
    max_result_bytes: int
    """How large the JSON of what a workflow or a step returns may be."""
    max_value_bytes: int
    """How large that of an event, of a message or of a value in a stream may be."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Read the settings from `environ`; raises BadSetting, which names the variable."""
        return cls(
            database_url=_database_url(environ),
            app_name=_app_name(environ),
            app_version=_app_version(environ),
            executor_id=_executor_id(environ),
            polling_interval=_seconds(environ, "POLLING_INTERVAL", default=0.1, minimum=0.001),
            drain_timeout=_seconds(environ, "DRAIN_TIMEOUT", default=25.0, minimum=0.0),
            max_takeovers=_whole(environ, "MAX_TAKEOVERS", minimum=1, maximum=1000) or 5,
            migrate=_flag(environ, "MIGRATE", default=True),
            retention_days=_days(environ, "RETENTION_DAYS"),
            health_port=_whole(environ, "HEALTH_PORT", minimum=1, maximum=65535),
            otlp_endpoint=_otlp_endpoint(environ),
            lead_after=_seconds(environ, "LEAD_AFTER", default=5.0, minimum=0.0),
            max_threads=_whole(environ, "MAX_THREADS", minimum=1, maximum=100_000) or 1000,
            max_result_bytes=_bytes(environ, "MAX_RESULT_BYTES", default=MAX_RESULT_BYTES),
            max_value_bytes=_bytes(environ, "MAX_VALUE_BYTES", default=MAX_VALUE_BYTES),
        )


def _database_url(environ: Mapping[str, str]) -> str:
    url = re.sub("^postgres://", "postgresql://", environ.get("DBOS_SYSTEM_DATABASE_URL", ""))
    try:
        url = several_hosts(url)
        usable = url.startswith("postgresql://") and make_url(url).database
    except (ProgrammingError, ArgumentError, ValueError) as error:
        if unknown := re.search(r'URI query parameter: "(\w+)"', str(error)):
            raise BadSetting(
                variable="DBOS_SYSTEM_DATABASE_URL",
                problem=f"must be without {unknown[1]}=, which is no parameter of PostgreSQL's",
            ) from error
        usable = None
    if not usable:
        raise BadSetting(
            variable="DBOS_SYSTEM_DATABASE_URL",
            problem="must be set to a URL like postgresql://user:password@host:5432/database",
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
        raise BadSetting(
            variable="APP_NAME",
            problem="must be 3 to 256 lowercase letters, digits, dashes and underscores",
        )
    return name


def _app_version(environ: Mapping[str, str]) -> str:
    version = environ.get("APP_VERSION") or "1"
    if not re.fullmatch("[!-~]{1,100}", version):
        raise BadSetting(
            variable="APP_VERSION", problem="must be 1 to 100 characters of ASCII without spaces"
        )
    return version


def _otlp_endpoint(environ: Mapping[str, str]) -> str | None:
    endpoint = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or None
    if endpoint and not re.match("https?://[^/]", endpoint):
        raise BadSetting(
            variable="OTEL_EXPORTER_OTLP_ENDPOINT", problem="must be a URL like http://host:4318"
        )
    return endpoint


def _executor_id(environ: Mapping[str, str]) -> str:
    unique = f"{socket.gethostname()}-{secrets.token_hex(4)}"
    executor_id = environ.get("EXECUTOR_ID") or unique
    if not re.fullmatch(EXECUTOR_ID, executor_id):
        raise BadSetting(
            variable="EXECUTOR_ID",
            problem="must be 1 to 200 letters, digits and any of . _ : @ -",
        )
    return executor_id


def _whole(environ: Mapping[str, str], variable: str, *, minimum: int, maximum: int) -> int | None:
    text = environ.get(variable)
    if not text:
        return None
    if not re.fullmatch("[0-9]{1,9}", text) or not minimum <= int(text) <= maximum:
        raise BadSetting(
            variable=variable, problem=f"must be a whole number from {minimum} to {maximum}"
        )
    return int(text)


def _bytes(environ: Mapping[str, str], variable: str, *, default: int) -> int:
    """A number of bytes that one row of Postgres can hold, and this process several times."""
    return _whole(environ, variable, minimum=1024, maximum=256 * 1024 * 1024) or default


def _flag(environ: Mapping[str, str], variable: str, *, default: bool) -> bool:
    text = environ.get(variable) or str(default).lower()
    if text not in ("true", "false"):
        raise BadSetting(variable=variable, problem="must be true or false")
    return text == "true"


def _days(environ: Mapping[str, str], variable: str) -> float | None:
    text = environ.get(variable)
    if not text:
        return None
    days = _number(text)
    if not 0 < days <= 36500:
        raise BadSetting(variable=variable, problem="must be days, more than 0 and at most 36500")
    return days


def _seconds(environ: Mapping[str, str], variable: str, *, default: float, minimum: float) -> float:
    text = environ.get(variable)
    seconds = _number(text) if text else default
    if not minimum <= seconds <= DAY:
        raise BadSetting(variable=variable, problem=f"must be seconds, from {minimum:g} to {DAY:g}")
    return seconds


def _number(text: str) -> float:
    """The number that `text` says, or NaN, which is within no bounds."""
    try:
        return float(text)
    except ValueError:
        return math.nan
