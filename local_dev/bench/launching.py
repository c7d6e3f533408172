"""Launches and statuses: how many per second, and how long each takes."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

import psycopg

from worker import queues

from .figures import Figure, Goal, in_turns
from .load import Load, Request, load
from .processes import wait_until
from .stage import Stage, clear, enqueue, unfinished

CLIENTS = (1, 8, 32)

BACKLOG = 3000
"""Workflows that keep a worker busy for longer than one measurement takes."""

PERCENTILES = (50, 95, 99)

SEVENFOLD = Goal("ratio", "at least", 7)

LAUNCH = Request("POST", "/greeting", b"{}")

TOMORROW = replace(LAUNCH, path="/greeting?delay=86400")
"""A launch that gives the worker nothing to do."""

FLOOR = """
select dbos.enqueue_workflow('greeting', %s, named_args => '{}', app_version => '1')
"""

Prepare = Callable[[], object]


def measure(stage: Stage) -> Iterator[Figure]:
    """Against the literal port with a busy and an idle worker; against HTTP and SQL alone."""
    database = stage.database()
    with ExitStack() as stack:
        launch = stack.enter_context(stage.function("launch", database))
        literal = stack.enter_context(stage.literal("launch", database))
        with stage.worker(database):
            busy = _Comparison(stage, "launch, busy worker", launch, literal, LAUNCH)
            yield from busy.figures(lambda: _refill(database), goal=SEVENFOLD)
            clear(database)
            wait_until(lambda: not unfinished(database))
            idle = _Comparison(stage, "launch, idle worker", launch, literal, TOMORROW)
            yield from idle.figures(lambda: clear(database))
        nothing = stack.enter_context(stage.nothing())
        yield from _limits(stage, launch, nothing, database)
    with ExitStack() as stack:
        status = stack.enter_context(stage.function("status", database))
        literal = stack.enter_context(stage.literal("status", database))
        request = Request("GET", f"/{_finished(database)}")
        with stage.worker(database):
            busy = _Comparison(stage, "status, busy worker", status, literal, request)
            yield from busy.figures(lambda: _refill(database))
            clear(database)
            wait_until(lambda: not unfinished(database))
            idle = _Comparison(stage, "status, idle worker", status, literal, request)
            yield from idle.figures(lambda: None)


class _Comparison:
    """The same request to the project and to the literal port."""

    def __init__(self, stage: Stage, name: str, ours: str, theirs: str, request: Request) -> None:
        self._stage = stage
        self._name = name
        self._urls = (ours, theirs)
        self._request = request

    def figures(self, prepare: Prepare, goal: Goal | None = None) -> Iterator[Figure]:
        """Rates, and latencies in percentiles, with each number of clients."""
        for clients in CLIENTS:
            ours, theirs = self._loads(clients, prepare)
            yield Figure(
                self._name,
                f"{_clients(clients)}, rate",
                "/s",
                [each.rate for each in ours],
                [each.rate for each in theirs],
                "literal port",
                goal if clients > 1 else None,
            )
            for percent in PERCENTILES:
                yield Figure(
                    self._name,
                    f"{_clients(clients)}, p{percent}",
                    "ms",
                    [each.percentile(percent) * 1000 for each in ours],
                    [each.percentile(percent) * 1000 for each in theirs],
                    "literal port",
                )

    def _loads(self, clients: int, prepare: Prepare) -> tuple[list[Load], list[Load]]:
        ours, theirs = in_turns(
            self._stage.rounds,
            *[partial(self._load, url, clients, prepare) for url in self._urls],
        )
        return ours, theirs

    def _load(self, url: str, clients: int, prepare: Prepare) -> Load:
        prepare()
        return loaded(url, self._request, clients, self._stage.seconds)


def loaded(url: str, request: Request, clients: int, seconds: float) -> Load:
    """What comes of some seconds of load; every answer has to be a success."""
    done = asyncio.run(load(url, lambda: request, clients, seconds))
    assert set(done.statuses) <= {200, 202}, done.statuses
    return done


def _limits(stage: Stage, launch: str, nothing: str, database: str) -> Iterator[Figure]:
    """How far a launch is from a handler that does nothing, and from SQL without HTTP."""
    for clients in CLIENTS:

        def rate(url: str, request: Request, clients: int = clients) -> float:
            clear(database)
            return loaded(url, request, clients, stage.seconds).rate

        ours, theirs = in_turns(
            stage.rounds, lambda: rate(launch, LAUNCH), lambda: rate(nothing, LAUNCH)
        )
        name = f"{_clients(clients)}, rate"
        yield Figure("launch, no worker", name, "/s", ours, theirs, "handler that does nothing")
    with psycopg.connect(database, autocommit=True) as connection:
        ours, theirs = in_turns(
            stage.rounds, lambda: rate(launch, LAUNCH, 1), lambda: _floor(stage, connection)
        )
    yield Figure("launch, no worker", "1 client, rate", "/s", ours, theirs, "SQL, 1 connection")


def _floor(stage: Stage, connection: psycopg.Connection) -> float:
    begun = time.perf_counter()
    count = 0
    while (now := time.perf_counter()) < begun + stage.seconds:
        connection.execute(FLOOR, (queues.TASKS.name,))
        count += 1
    return count / (now - begun)


def _refill(database: str) -> None:
    clear(database)
    enqueue(database, BACKLOG)


def _finished(database: str) -> str:
    """The id of a workflow that has ended well."""
    with psycopg.connect(database) as connection:
        row = connection.execute(
            "select workflow_uuid from dbos.workflow_status where status = 'SUCCESS' limit 1"
        ).fetchone()
    assert row
    return str(row[0])


def _clients(count: int) -> str:
    return "1 client" if count == 1 else f"{count} clients"
