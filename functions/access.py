"""Who is calling, and whose workflows they see."""

import hashlib
import hmac
from typing import NamedTuple

from starlette.requests import Request

from . import tables
from .client import engine
from .errors import BadCredentials, BadHeader, NoCredentials
from .policy import is_name
from .settings import settings
from .tables import Sight, Workflow

ADMIN = "admin"

MAX_CREDENTIAL_BYTES = 16 * 1024
"""More than any key or token has; decoding or hashing megabytes would keep others waiting."""

BLANKS = " \t"
"""What HTTP allows around a value (RFC 9110, OWS); other blanks are a part of it."""


class Caller(NamedTuple):
    """Somebody who may call; without a name it is whoever the platform has let in."""

    name: str | None
    roles: tuple[str, ...] = ()

    @property
    def sees_all(self) -> bool:
        """Whether the workflows of others exist for this caller, too."""
        return self.name is None or ADMIN in self.roles

    @property
    def sight(self) -> Sight:
        """Which workflows this caller sees."""
        users = None if self.name is None or self.sees_all else [self.name]
        return {"application": settings().app_name, "users": users}


def caller(request: Request) -> Caller:
    """Who has sent `request`, as `target` has found out."""
    who: Caller = request.state.caller
    return who


def visible(by: Caller, workflow_id: str) -> Workflow:
    """The workflow, as far as it is visible `by` a caller; raises UnknownWorkflowId."""
    return tables.workflow(engine(), by.sight, workflow_id)


async def authenticate(request: Request) -> Caller:
    """Who sends `request`; raises BadHeader, NoCredentials, BadCredentials, KeysUnavailable."""
    match settings().auth:
        case "api_key":
            return _owner(_once(request, "X-API-Key") or _bearer(request))
        case "jwt":
            return await _subject(_bearer(request))
    return Caller(name=None)


def _bearer(request: Request) -> str:
    scheme, _, credentials = _once(request, "Authorization").strip(BLANKS).partition(" ")
    if scheme.lower() != "bearer" or not credentials.strip(BLANKS):
        raise NoCredentials
    return credentials.strip(BLANKS)


def _once(request: Request, header: str) -> str:
    """The value of a header, or an empty one; raises BadHeader for two, of which one may be bad."""
    values = request.headers.getlist(header)
    if len(values) > 1:
        raise BadHeader(header=header, wanted="given once")
    return values[0] if values else ""


def _owner(key: str) -> Caller:
    if len(key) > MAX_CREDENTIAL_BYTES:
        raise BadCredentials
    # Headers are bytes, which Starlette reads as Latin-1.
    digest = hashlib.sha256(key.encode("latin-1")).hexdigest()
    # All are compared, so that the time it takes tells nothing.
    keys = settings().api_keys.items()
    names = [name for name, known in keys if hmac.compare_digest(known, digest)]
    if not names:
        raise BadCredentials
    return _caller(names[0])


async def _subject(token: str) -> Caller:
    if len(token) > MAX_CREDENTIAL_BYTES:
        raise BadCredentials
    from .tokens import claims  # Only here, since its libraries would slow down every cold start.

    claimed = await claims(token)
    if not is_name(claimed["sub"]):
        raise BadCredentials
    roles = claimed.get("roles")
    named = [role for role in roles if is_name(role)] if isinstance(roles, list) else []
    return _caller(claimed["sub"], *named)


def _caller(name: str, *roles: str) -> Caller:
    if name in settings().admins:
        roles = (*roles, ADMIN)
    return Caller(name, tuple(dict.fromkeys(roles)))
