"""Who may call: the settings that AUTH wants, and CORS_ORIGINS."""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import ip_address
from urllib.parse import urlsplit

from .errors import BadSetting

MAX_NAME_CHARACTERS = 255
"""The longest name of a caller: what OpenID Connect allows for `sub`. It fits into an index of
Postgres, which takes 2,704 bytes."""

Environ = Mapping[str, str]

ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
"""As browsers send it (RFC 6454): in lower case, without a path."""


def auth(environ: Environ) -> str:
    """How callers are told apart: `none`, `api_key` or `jwt`."""
    mode = environ.get("AUTH", "")
    if mode not in {"none", "api_key", "jwt"}:
        raise BadSetting(
            "AUTH must be set to api_key, jwt, or none, which lets in every caller that reaches "
            "the functions: the platform in front of them has to authenticate"
        )
    return mode


def api_keys(environ: Environ) -> dict[str, str]:
    """The hex SHA-256 digests of the callers' keys, by the callers' names."""
    if environ.get("AUTH") != "api_key":
        return {}
    try:
        keys = json.loads(environ.get("API_KEYS", ""))
        digests = [digest.lower() for digest in keys.values()]
    except (ValueError, RecursionError, AttributeError):
        keys, digests = {}, []
    well_formed = all(re.fullmatch("[0-9a-f]{64}", digest) for digest in digests)
    if not keys or not all(map(is_name, keys)) or not well_formed:
        raise BadSetting(
            "API_KEYS must be set to a JSON object of caller names to hex SHA-256 digests of "
            'their keys, like {"alice": "2bd806c9...", "bob": "81b637d8..."}'
        )
    if len(set(digests)) < len(digests):
        raise BadSetting("API_KEYS must be different keys for different callers")
    return dict(zip(keys, digests, strict=True))


def admins(environ: Environ) -> frozenset[str]:
    """The names of the callers that see the workflows of all."""
    names = frozenset(_list(environ, "ADMINS"))
    if environ.get("AUTH") == "api_key" and not names <= api_keys(environ).keys():
        raise BadSetting("ADMINS must be names of callers in API_KEYS, separated by commas")
    return names


def jwt(environ: Environ, name: str) -> str:
    """The variable `name`, which only AUTH=jwt wants."""
    if environ.get("AUTH") != "jwt":
        return ""
    if not (value := environ.get(name, "")):
        raise BadSetting(f"{name} must be set with AUTH=jwt: the tokens are checked against it")
    return value


def jwks_url(environ: Environ) -> str:
    """Where the issuer of the tokens publishes its keys (RFC 7517)."""
    url = jwt(environ, "JWT_JWKS_URL")
    if url and not _is_safe(url):
        raise BadSetting(
            "JWT_JWKS_URL must be an https URL, like "
            "https://login.example.com/.well-known/jwks.json; http only on this machine"
        )
    return url


def cors_origins(environ: Environ) -> tuple[str, ...]:
    """The origins whose pages may use the functions in a browser; none by default."""
    origins = tuple(_list(environ, "CORS_ORIGINS"))
    if origins != ("*",) and not all(map(ORIGIN.fullmatch, origins)):
        raise BadSetting(
            "CORS_ORIGINS must be origins in lower case and without a path, like "
            "https://app.example.com, separated by commas; or * for all"
        )
    return origins


def is_name(name: object) -> bool:
    """Whether a caller can be called so: Postgres, its indexes and logs have to take it."""
    if not isinstance(name, str) or len(name) > MAX_NAME_CHARACTERS:
        return False
    return bool(name.strip()) and name.isprintable()


def _is_safe(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or not url.isprintable() or " " in url:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"


def _list(environ: Environ, name: str) -> list[str]:
    return [part.strip() for part in environ.get(name, "").split(",") if part.strip()]
