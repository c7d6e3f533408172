"""JSON that every reader understands."""

import asyncio
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Message

from functions import body as functions_body
from functions.body import MAX_BYTES, MAX_DEPTH, json_calls, json_value
from functions.errors import (
    BadHeader,
    BodyTooLarge,
    BodyTooSlow,
    FunctionError,
    InvalidArguments,
    MalformedBody,
    UnsupportedEncoding,
    UnsupportedMediaType,
)


def read(
    body: bytes, content_type: str | None = "application/json", **others: str
) -> dict[str, Any]:
    """The only call in a request with this body and these headers."""
    named = {"content-type": content_type} if content_type else {}
    named |= {name.replace("_", "-"): value for name, value in others.items()}
    headers = [(name.encode(), value.encode()) for name, value in named.items()]

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    request = Request({"type": "http", "method": "POST", "headers": headers}, receive)
    return calls_in(request)[""]


def calls_in(request: Request) -> dict[str, dict[str, Any]]:
    """The arguments in a request, by their pointers."""
    return asyncio.run(json_calls(request))


def nested(depth: int) -> bytes:
    """An object whose value is `depth - 1` lists deep."""
    return b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"{}", {}),
        ('{"é": "☃😀"}'.encode(), {"é": "☃😀"}),
        (b'{"a": "\\ud83d\\ude00", "b": "\\u0000"}', {"a": "😀", "b": "\0"}),
        (b'{"a": 1e308, "b": -0.0, "c": 123456789012345678901234567890}', None),
        (nested(MAX_DEPTH), None),
    ],
)
def test_json_is_read(body: bytes, value: dict[str, Any] | None) -> None:
    """Also its corners."""
    assert value is None or read(body) == value
    assert isinstance(read(body), dict)


def test_no_body_is_an_empty_object() -> None:
    """Whatever its type is said to be."""
    assert read(b"", None) == read(b"", "text/plain") == {}


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_the_media_type_may_have_parameters(content_type: str) -> None:
    """And any case."""
    assert read(b"{}", content_type) == {}


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"{'a': 1}",
        b'{"a": 1,}',
        b'{"a": 1} {}',
        b"\xff\xfe{}",
        b'{"a": "\xff"}',
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": "\\ud800"}',
        b'{"\\udc00": 1}',
        nested(MAX_DEPTH + 1),
        nested(100_000),
        b"\xef\xbb\xbf{}",
    ],
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    """Also what Python alone would read."""
    with pytest.raises(MalformedBody, match="The body is not JSON: "):
        read(body)


@pytest.mark.parametrize("body", [b"1", b'"text"', b"null"])
def test_other_json_than_an_object_does_not_fit(body: bytes) -> None:
    """The pointer is that of the whole body."""
    with pytest.raises(InvalidArguments) as raised:
        read(body)

    assert vars(raised.value)["errors"] == [{"pointer": "", "message": "is not a JSON object"}]


@pytest.mark.parametrize(
    ("body", "content_type", "error"),
    [
        (b"{}", None, UnsupportedMediaType),
        (b"{}", "text/plain", UnsupportedMediaType),
        (b"a=1", "application/x-www-form-urlencoded", UnsupportedMediaType),
        (b" " * (MAX_BYTES + 1), "application/json", BodyTooLarge),
    ],
)
def test_other_bodies_are_refused(
    body: bytes, content_type: str | None, error: type[FunctionError]
) -> None:
    """By their type and by their size."""
    with pytest.raises(error):
        read(body, content_type)


def test_a_compressed_body_is_refused() -> None:
    """Nothing here would inflate it."""
    with pytest.raises(UnsupportedEncoding, match="'gzip'"):
        read(b"{}", content_encoding="gzip")


@pytest.mark.parametrize(
    "lengths",
    [
        ["9" * 5000],
        ["0" * 5000],
        ["-1"],
        ["+5"],
        ["5, 5"],
        ["5", "5"],
        ["5_0"],
        ["5 0"],
        [""],
        ["\u0665"],
    ],
    ids=lambda lengths: ascii(lengths)[:12],
)
def test_a_length_that_is_no_number_is_refused(lengths: list[str]) -> None:
    """Servers and platforms do not look at it alike, and Python reads more than HTTP has."""
    headers = [(b"content-length", length.encode("utf-8")) for length in lengths]

    with pytest.raises(BadHeader, match="The header Content-Length has to be a single number"):
        calls_in(Request({"type": "http", "method": "POST", "headers": headers}))


@pytest.mark.parametrize("length", ["2", "002", " 2", "2 \t"])
def test_a_length_may_have_spaces_and_zeros(length: str) -> None:
    """As HTTP has it."""
    assert read(b"{}", content_length=length) == {}


def test_a_body_announced_as_too_large_is_not_waited_for() -> None:
    """Its length alone is enough."""
    with pytest.raises(BodyTooLarge):
        read(b"{}", content_length="99999999999")


def test_a_body_that_does_not_end_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a byte of it comes from time to time."""
    monkeypatch.setattr(functions_body, "BODY_SECONDS", 0.1)

    async def receive() -> Message:
        await asyncio.sleep(0.001)
        return {"type": "http.request", "body": b" ", "more_body": True}

    request = Request({"type": "http", "method": "POST", "headers": []}, receive)

    with pytest.raises(BodyTooSlow):
        calls_in(request)


def test_a_large_body_keeps_nobody_waiting() -> None:
    """A task that runs meanwhile goes on while it is parsed."""
    body = b"[" + b"[]," * (MAX_BYTES // 4) + b"[]]"
    ticks = 0

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    async def read_beside() -> None:
        headers = [(b"content-type", b"application/json")]
        beside = asyncio.create_task(tick())
        await json_value(Request({"type": "http", "method": "POST", "headers": headers}, receive))
        beside.cancel()

    asyncio.run(read_beside())

    assert ticks > 0
