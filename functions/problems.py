"""Turn every error into an answer: application/problem+json (RFC 9457)."""

import logging
import re

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from .answers import Answer
from .errors import (
    BadCredentials,
    BeyondLimits,
    DatabaseRefused,
    DatabaseUnavailable,
    FunctionError,
    MethodNotAllowed,
    NothingHere,
    UnusableSchema,
    shortened,
)

logger = logging.getLogger(__name__)


def problem(error: Exception) -> Response:
    """The answer to `error`; of one that nobody expected it tells nothing but the status."""
    if isinstance(error, ClientDisconnect):
        return Response(status_code=499)
    if not isinstance(error, FunctionError):
        logger.error("unexpected error", exc_info=error)
        error = FunctionError()
    _log(error)
    body = {
        "type": _type(error),
        "title": error.title,
        "status": error.status,
        "detail": str(error),
    } | {member: getattr(error, member) for member in error.members}
    return Answer(body, error.status, error.headers, media_type="application/problem+json")


def _log(error: FunctionError) -> None:
    """Log what callers may not read of an error."""
    if isinstance(error, DatabaseRefused):
        logger.error("the database has refused a statement", exc_info=error)
    if isinstance(error, BeyondLimits):
        logger.info("beyond the limits of the database: %s", _reason(error.__cause__))
    if isinstance(error, DatabaseUnavailable):
        logger.warning("database unavailable: %s", _reason(error.__cause__))
    if isinstance(error, UnusableSchema):
        logger.warning("%s %r", error, shortened(str(error.__cause__)))
    if isinstance(error, BadCredentials) and error.__cause__:
        logger.info("credentials refused: %s", type(error.__cause__).__name__)


async def unrouted(request: Request, error: Exception) -> Response:
    """The answer where Starlette has found no route."""
    if not isinstance(error, HTTPException) or error.status_code != 405:
        return problem(NothingHere())
    return problem(
        MethodNotAllowed(request.method, (error.headers or {}).get("Allow", "GET, HEAD"))
    )


def _reason(error: BaseException | None) -> str:
    """What the driver says, in one line; neither it nor the server ever tells a password."""
    said = str(getattr(error, "orig", None) or "").splitlines()
    return said[0] if said else type(error).__name__


def _type(error: FunctionError) -> str:
    words = re.sub(r"(?<!^)(?=[A-Z])", "-", type(error).__name__).lower()
    return f"urn:dbos-functions:problem:{words}"
