"""The functions' settings: environment variables, read once per instance."""

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Self

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from .errors import BadSetting


@dataclass(frozen=True)
class Settings:
    """Everything the functions can be told."""

    database_url: str = field(repr=False)
    auth: str
    app_name: str
    pool_size: int
    status_url: str
    events_seconds: float = 55.0

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Read the settings from `environ`; raises BadSetting, which names the variable."""
        return cls(
            database_url=_database_url(environ),
            auth=_auth(environ),
            app_name=_app_name(environ),
            pool_size=_pool_size(environ),
            status_url=(environ.get("STATUS_URL") or "/status").rstrip("/"),
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
        conninfo_to_dict(url)
        usable = bool(re.match("postgres(ql)?://", url) and make_url(url).database)
    except (ProgrammingError, ArgumentError, ValueError):
        usable = False
    if not usable:
        raise BadSetting(
            "DBOS_SYSTEM_DATABASE_URL must be set to a URL like "
            "postgresql://user:password@host:5432/database"
        )
    return url


def _auth(environ: Mapping[str, str]) -> str:
    auth = environ.get("AUTH", "")
    if auth != "none":
        raise BadSetting(
            "AUTH must be set to none, which lets in every caller that reaches the functions: "
            "the platform in front of them has to authenticate"
        )
    return auth


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
