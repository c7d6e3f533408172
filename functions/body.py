"""Read a request's body: JSON, strictly, and not without limits."""

import asyncio
import json
import re
from typing import Any

from starlette.requests import Request

from .errors import (
    BadHeader,
    BodyTooLarge,
    BodyTooSlow,
    InvalidArguments,
    MalformedBody,
    UnsupportedEncoding,
    UnsupportedMediaType,
)

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 100

BODY_SECONDS = 30.0
"""Time for a whole body, which is enough at 35 KB per second: whoever sends one byte after another
would keep a connection, of which a machine has not many."""

MAX_QUICK_BYTES = 64 * 1024
"""What takes some milliseconds to parse; more is parsed in a thread, beside other requests."""

LENGTH = re.compile("[0-9]{1,20}")
"""As many digits as 64 bits have: Python refuses to read some thousands, and nobody sends them."""

LARGEST_BATCH = 1000


async def json_value(request: Request) -> Any:
    """The JSON value in the body.

    Raises BadHeader, BodyTooLarge, BodyTooSlow, UnsupportedEncoding, UnsupportedMediaType,
    MalformedBody.
    """
    body = await _read(request)
    _check_representation(request)
    return await _parsed(body)


async def json_calls(request: Request) -> dict[str, dict[str, Any]]:
    """The arguments in the body, by the JSON pointer (RFC 6901) to where they stand in it.

    That is "" for an object or an empty body, and "/0", "/1"... for an array of objects. Raises
    what `json_value` raises, and InvalidArguments.
    """
    body = await _read(request)
    if not body:
        return {"": {}}
    _check_representation(request)
    value = await _parsed(body)
    if isinstance(value, list) and not 1 <= len(value) <= LARGEST_BATCH:
        message = f"has to have 1 to {LARGEST_BATCH} items"
        raise InvalidArguments(errors=[{"pointer": "", "message": message}])
    batch = value if isinstance(value, list) else []
    calls = {f"/{at}": item for at, item in enumerate(batch)} or {"": value}
    for pointer, call in calls.items():
        if not isinstance(call, dict):
            raise InvalidArguments(errors=[{"pointer": pointer, "message": "is not a JSON object"}])
    return calls


async def _read(request: Request) -> bytes:
    if _announced_bytes(request) > MAX_BYTES:
        raise BodyTooLarge(limit=MAX_BYTES)
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise BodyTooLarge(limit=MAX_BYTES)
    except TimeoutError as error:
        raise BodyTooSlow(seconds=BODY_SECONDS) from error
    return bytes(body)


def _announced_bytes(request: Request) -> int:
    """How long the body is said to be; 0 if nothing is said. Raises BadHeader."""
    lengths = request.headers.getlist("content-length")
    if not lengths:
        return 0
    length = lengths[0].strip(" \t")
    if len(lengths) > 1 or not LENGTH.fullmatch(length):
        raise BadHeader(header="Content-Length", wanted="a single number of bytes")
    return int(length)


def _check_representation(request: Request) -> None:
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise UnsupportedEncoding(encoding=encoding)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMediaType(media_type=media_type)


async def _parsed(body: bytes) -> Any:
    """The value of a body; raises MalformedBody."""
    return _parse(body) if len(body) <= MAX_QUICK_BYTES else await asyncio.to_thread(_parse, body)


def _parse(body: bytes) -> Any:
    """Parse JSON (RFC 8259) that every other reader of it will understand, too."""
    try:
        value = json.loads(body.decode())
        # Python reads NaN, 1e999 and lone surrogates, but cannot write them as JSON in UTF-8.
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
        if _deeper_than(MAX_DEPTH, value):
            raise RecursionError
    except (ValueError, RecursionError) as error:
        raise MalformedBody(reason=_reason(error)) from error
    return value


def _reason(error: Exception) -> str:
    match error:
        case json.JSONDecodeError():
            return f"{error.msg} (line {error.lineno}, column {error.colno})"
        case UnicodeEncodeError() | UnicodeDecodeError():
            return "it is not valid Unicode"
        case RecursionError():
            return f"it is nested more than {MAX_DEPTH} levels deep"
    return "it has a number that JSON cannot hold"


def _deeper_than(levels: int, value: Any) -> bool:
    if not isinstance(value, dict | list):
        return False
    children = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_deeper_than(levels - 1, child) for child in children)
