"""The worker's settings: environment variables, read once at start."""

import math
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from .errors import BadSetting

DAY = 86400.0


@dataclass(frozen=True)
class Settings:
    """Everything the worker can be told. Times are in seconds."""

    database_url: str = field(repr=False)
    app_name: str
    app_version: str
    executor_id: str
    polling_interval: float
    drain_timeout: float

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Read the settings from `environ`; raises BadSetting, which names the variable."""
        return cls(
            database_url=_database_url(environ),
            app_name=_app_name(environ),
            app_version=environ.get("APP_VERSION") or "1",
            executor_id=environ.get("EXECUTOR_ID") or socket.gethostname(),
            polling_interval=_seconds(environ, "POLLING_INTERVAL", default=0.1, minimum=0.001),
            drain_timeout=_seconds(environ, "DRAIN_TIMEOUT", default=25.0, minimum=0.0),
        )


def _database_url(environ: Mapping[str, str]) -> str:
    url = re.sub("^postgres://", "postgresql://", environ.get("DBOS_SYSTEM_DATABASE_URL", ""))
    try:
        conninfo_to_dict(url)
        usable = url.startswith("postgresql://") and make_url(url).database
    except (ProgrammingError, ArgumentError, ValueError):
        usable = None
    if not usable:
        raise BadSetting(
            variable="DBOS_SYSTEM_DATABASE_URL",
            problem="must be set to a URL like postgresql://user:password@host:5432/database",
        )
    return url


def _app_name(environ: Mapping[str, str]) -> str:
    name = environ.get("APP_NAME") or "dbos-functions"
    if not re.fullmatch(r"[a-z0-9_-]{3,256}", name):
        raise BadSetting(
            variable="APP_NAME",
            problem="must be 3 to 256 lowercase letters, digits, dashes and underscores",
        )
    return name


def _seconds(environ: Mapping[str, str], variable: str, *, default: float, minimum: float) -> float:
    text = environ.get(variable)
    try:
        seconds = float(text) if text else default
    except ValueError:
        seconds = math.nan
    if not minimum <= seconds <= DAY:
        raise BadSetting(variable=variable, problem=f"must be seconds, from {minimum:g} to {DAY:g}")
    return seconds
