"""Server-sent events (HTML Living Standard, section 9.2): a workflow as it goes on."""

import asyncio
import hashlib
import re
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import anyio
from dbos import DBOSClient
from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import SendTimeoutError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from . import answers
from .access import Caller
from .buffering import is_buffered
from .client import engine, use_client
from .errors import BadHeader, DatabaseRefused, DatabaseUnavailable, UnknownWorkflowId
from .opaque import opened, sealed
from .settings import settings
from .tables import StreamValue, status, stream_keys, stream_values
from .waiting import NOTHING, watch

VALUES = 100
"""Values of streams that are read at once."""

PATIENCE = 15.0
"""Seconds that a client may take to read what it is sent."""

GRACE = 2.0
"""Seconds to say goodbye when the server ends."""

MAX_ID_CHARACTERS = 8192
"""The longest `Last-Event-ID`: one like it comes back in every event that is sent."""

STREAM_BYTES = 5600
"""Bytes of an id that tell which values of streams were sent. In base64 that is 7,467 characters;
with three digests, the id stays below MAX_ID_CHARACTERS."""

OFFSET_BYTES = len(":2147483648,")
"""Bytes that the offset of a stream takes at most beside its key."""

DIGEST = re.compile("[0-9a-f]{0,16}")
"""What `_digest` makes, or nothing."""

CLOSED = "__DBOS_STREAM_CLOSED__"
"""What DBOS writes at the end of a stream."""

PAUSE = 0.1
"""Seconds at least between two looks for the same client."""

AGAIN = 1000
"""Milliseconds after which a client that was cut off is to come back."""

BUFFERED = 20.0
"""Seconds at most until a platform that buffers is given an answer; their gateways allow 29."""

SOON = 500
"""Milliseconds after which a client of such a platform is to ask for what is next."""


@dataclass
class Position:
    """What a client has been sent; as text it is the `id` of an event."""

    status: str = ""
    progress: str = ""
    offsets: dict[str, int] = field(default_factory=dict)
    ended: str = ""

    def __str__(self) -> str:
        return sealed([self.status, self.progress, self.offsets, self.ended])

    @classmethod
    def from_request(cls, request: Request) -> "Position":
        """Where `Last-Event-ID` says that the client is; raises BadHeader."""
        last = request.headers.get("last-event-id")
        if not last:
            return cls()
        try:
            if len(last) > MAX_ID_CHARACTERS:
                raise ValueError
            status, progress, offsets, ended = opened(last)
            return cls(status, progress, offsets, ended).checked()
        except (ValueError, TypeError) as error:
            wanted = f"the id of an event, at most {MAX_ID_CHARACTERS} characters"
            raise BadHeader(header="Last-Event-ID", wanted=wanted) from error

    def checked(self) -> "Position":
        """This position, if it can be one; raises ValueError, TypeError."""
        if not all(map(DIGEST.fullmatch, (self.status, self.progress, self.ended))):
            raise ValueError
        if not isinstance(self.offsets, dict):
            raise TypeError
        for key, offset in self.offsets.items():
            if "\0" in key or type(offset) is not int or not 0 <= offset <= 2**31:
                raise ValueError
            key.encode()
        return self

    def followed(self, keys: Iterable[str]) -> dict[str, int]:
        """From which offset on to go on with these streams, as far as they fit into an id."""
        followed, left = {}, STREAM_BYTES
        for key in keys:
            left -= len(answers.as_json(key)) + OFFSET_BYTES
            if left < 0:
                break
            followed[key] = self.offsets.get(key, 0)
        return followed

    def keep(self, followed: Mapping[str, int]) -> None:
        """Forget the streams that are not followed any longer, or that the workflow never had."""
        self.offsets = {key: offset for key, offset in followed.items() if offset}


@dataclass(frozen=True)
class Snapshot:
    """A workflow at one moment, and what its streams have that was not sent yet."""

    body: dict[str, Any]
    values: list[StreamValue]
    complete: bool
    """Whether the streams have no more values at this moment."""

    @cached_property
    def status(self) -> str:
        """Tells this state from others; without the progress, which has events of its own."""
        return _digest({name: value for name, value in self.body.items() if name != "progress"})

    @property
    def ended(self) -> bool:
        """Whether nothing will follow."""
        return self.complete and self.body["status"] not in answers.UNFINISHED

    def is_behind(self, position: Position) -> bool:
        """Whether a client has been sent the last event already."""
        return self.ended and not self.values and position.ended == self.status

    def events(self, position: Position) -> Iterator[ServerSentEvent]:
        """What is new after `position`, which moves on with each event."""
        if self.status != position.status:
            position.status = self.status
            yield _event("status", self.body, position)
        progress = self.body["progress"]
        if progress is not None and (digest := _digest(progress)) != position.progress:
            position.progress = digest
            yield _event("progress", progress, position)
        for each in self.values:
            position.offsets[each.key] = each.offset + 1
            if each.value.value != CLOSED:
                data = {"key": each.key, "offset": each.offset} | answers.told("value", each.value)
                yield _event("stream", data, position)
        if self.ended:
            position.ended = self.status
            yield _event("end", {"status": self.body["status"]}, position)


class EventStream(EventSourceResponse):
    """A stream that ends when its client does not read it any longer."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        with suppress(SendTimeoutError):
            await super().__call__(scope, receive, send)


async def event_stream(request: Request, by: Caller, workflow_id: str) -> Response:
    """200 with the events of a workflow, or 204 for a client that has been sent the last one.

    Raises UnknownWorkflowId, BadHeader, DatabaseUnavailable, NoWorkerYet before anything is sent.
    """
    position = Position.from_request(request)
    first = await _snapshot(by, workflow_id, position)
    if first.is_behind(position):
        return Response(status_code=204)
    return EventStream(
        _events(by, workflow_id, position, first, buffered=is_buffered(request)),
        sep="\n",
        send_timeout=PATIENCE,
        shutdown_event=anyio.Event(),
        shutdown_grace_period=GRACE,
    )


async def _events(
    by: Caller, workflow_id: str, position: Position, snapshot: Snapshot, *, buffered: bool
) -> AsyncIterator[ServerSentEvent]:
    """What happens until the end, or, where it could not be read meanwhile, until anything does."""
    yield ServerSentEvent(retry=SOON if buffered else AGAIN, sep="\n")
    seconds = settings().events_seconds
    end = time.monotonic() + (min(seconds, BUFFERED) if buffered else seconds)
    version = NOTHING
    while (left := end - time.monotonic()) > 0:
        told = False
        for event in snapshot.events(position):
            yield event
            told = True
        if snapshot.ended:
            return
        if buffered and told:
            break
        try:
            if snapshot.complete:
                async with asyncio.timeout(left):
                    version = await watch().change(workflow_id, version) or NOTHING
            snapshot = await _snapshot(by, workflow_id, position)
        except UnknownWorkflowId:
            yield _event("end", {"status": None}, position)
            return
        except (DatabaseUnavailable, DatabaseRefused):
            version = NOTHING  # What has changed was not read yet.
            await asyncio.sleep(PAUSE)
        except TimeoutError:
            break
        await asyncio.sleep(PAUSE)
    yield _event("reconnect", {}, position)


async def _snapshot(by: Caller, workflow_id: str, position: Position) -> Snapshot:
    def read(_: DBOSClient) -> tuple[Snapshot, dict[str, int]]:
        # The streams last: what is written before the end of a workflow is not missed then.
        body = answers.status_body(*status(engine(), by.sight, workflow_id))
        followed = position.followed(stream_keys(engine(), workflow_id))
        return Snapshot(body, *stream_values(engine(), workflow_id, followed, VALUES)), followed

    snapshot, followed = await use_client(read)
    position.keep(followed)
    return snapshot


def _event(name: str, data: Any, position: Position) -> ServerSentEvent:
    return ServerSentEvent(answers.as_json(data).decode(), event=name, id=str(position), sep="\n")


def _digest(value: Any) -> str:
    return hashlib.sha256(answers.as_json(value)).hexdigest()[:16]
