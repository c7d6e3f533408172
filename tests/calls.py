"""What a frontend does: launch a workflow, follow it."""

import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import httpx2

from local_dev.bench.processes import wait_until


def launched(client: httpx2.Client, workflow: str, **arguments: Any) -> str:
    """Launch a workflow on the all-in-one server; returns where to follow it."""
    answer = client.post(f"/launch/{workflow}", json=arguments)
    assert answer.status_code == 202, answer.text
    return answer.headers["Location"]


def finished(client: httpx2.Client, url: str) -> dict[str, Any]:
    """The status of a workflow once it need not be asked for again."""

    def look() -> dict[str, Any] | None:
        answer = client.get(url)
        assert answer.status_code == 200, answer.text
        return None if "Retry-After" in answer.headers else dict(answer.json())

    return wait_until(look)


class Event(NamedTuple):
    """One server-sent event."""

    id: str
    name: str
    data: Any


def parsed(lines: Iterable[str]) -> Iterator[Event]:
    """The events in the lines of a stream, as they arrive; comments and `retry` are none."""
    event: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        event |= {name: value} if name else {}
        if not line:
            if "event" in event:
                yield Event(event["id"], event["event"], json.loads(event["data"]))
            event = {}
