"""What a long history costs: the same with a million finished workflows as with a thousand."""

import asyncio
import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from hashlib import sha256

import psycopg

from worker import queues

from .figures import Figure, Goal, in_turns
from .history import CALLER, fill
from .launching import TOMORROW
from .load import Request, load
from .processes import wait_until
from .stage import Stage, clear, enqueue

SHORT = 1000

GOAL = Goal("ratio", "at most", 1.2)

SAMPLE = """
select workflow_uuid
from dbos.workflow_status
where status = %s
order by md5(workflow_uuid)
limit 1000
"""

IN_FLIGHT = """
select exists (
    select from dbos.workflow_status where queue_name = %s and status in ('ENQUEUED', 'PENDING')
)
"""


KEYS = {"everybody": "one key", CALLER: "another key"}

ACCESS = {
    "AUTH": "api_key",
    "API_KEYS": json.dumps({name: sha256(key.encode()).hexdigest() for name, key in KEYS.items()}),
    "ADMINS": "everybody",
}

Prepare = Callable[[str], Iterator[Request]]
"""Makes the requests for a database."""


def measure(stage: Stage) -> Iterator[Figure]:
    """The functions, then the worker, over a long and a short history in turns."""
    long = 20_000 if stage.quick else 1_000_000
    databases = [_database(stage, count) for count in (long, SHORT)]
    figure = partial(_figure, f"{long:,} finished workflows")
    with ExitStack() as stack:
        urls = [stack.enter_context(stage.server(each, **ACCESS)) for each in databases]
        for name, prepare in REQUESTS.items():
            latencies = in_turns(
                stage.rounds,
                *[
                    partial(_milliseconds, stage, url, database, prepare)
                    for url, database in zip(urls, databases, strict=True)
                ],
            )
            yield figure(f"{name}, p50", "ms", *latencies)
    with ExitStack() as stack:
        for database in databases:
            clear(database)
            stack.enter_context(stage.worker(database))
        count = 60 if stage.quick else 300
        drains = in_turns(stage.rounds, *[partial(_drain, each, count) for each in databases])
        yield figure(f"execute {count} workflows", "s", *drains)


def _figure(
    group: str, name: str, unit: str, long: Sequence[float], short: Sequence[float]
) -> Figure:
    return Figure(group, name, unit, long, short, f"with {SHORT:,}", GOAL)


def _database(stage: Stage, count: int) -> str:
    database, executed = stage.executed()
    fill(database, executed, count)
    return database


def _milliseconds(stage: Stage, url: str, database: str, prepare: Prepare) -> float:
    requests = prepare(database)
    done = asyncio.run(load(url, lambda: next(requests), 1, stage.seconds / 2))
    assert set(done.statuses) <= {200, 202}, done.statuses
    return done.percentile(50) * 1000


def _launches(database: str) -> Iterator[Request]:
    clear(database)
    return itertools.repeat(
        replace(TOMORROW, path=f"/launch{TOMORROW.path}", headers=_key("everybody"))
    )


def _statuses(database: str) -> Iterator[Request]:
    return itertools.cycle(_get(f"/status/{id}") for id in _sample(database, "SUCCESS"))


def _pages(query: str, caller: str, database: str) -> Iterator[Request]:
    clear(database)
    return itertools.repeat(_get(f"/list{query}", caller))


def _explanations(database: str) -> Iterator[Request]:
    clear(database)
    enqueue(database, 1)
    return itertools.cycle(_get(f"/explain/{id}") for id in _sample(database, "ENQUEUED"))


def _get(path: str, caller: str = "everybody") -> Request:
    return Request("GET", path, headers=_key(caller))


def _key(caller: str) -> tuple[tuple[str, str], ...]:
    return (("X-API-Key", KEYS[caller]),)


REQUESTS: dict[str, Prepare] = {
    "launch": _launches,
    "status": _statuses,
    "list, first page": partial(_pages, "", "everybody"),
    "list, those that failed": partial(_pages, "?status=ERROR", "everybody"),
    "list, for who has ten": partial(_pages, "", CALLER),
    "explain": _explanations,
}


def _sample(database: str, status: str) -> list[str]:
    """The ids of some workflows of a status, from anywhere in the history."""
    with psycopg.connect(database) as connection:
        return [row[0] for row in connection.execute(SAMPLE, (status,))]


def _drain(database: str, count: int) -> float:
    """Seconds that a worker takes for some workflows, from when they are enqueued."""
    with psycopg.connect(database, autocommit=True) as connection:

        def done() -> bool:
            return connection.execute(IN_FLIGHT, (queues.TASKS.name,)).fetchone() == (False,)

        begun = time.perf_counter()
        enqueue(database, count)
        wait_until(done, pause=0.01)
        return time.perf_counter() - begun
