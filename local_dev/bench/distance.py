"""Launches and statuses when the database is two milliseconds away."""

import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import psycopg

from .figures import Figure, in_turns
from .launching import TOMORROW, loaded
from .load import Load, Request
from .processes import free_port, listens, python, run
from .proxy import behind
from .stage import ROOT, Stage, clear

DELAY = 0.001
"""Seconds in each direction."""

CLIENTS = {1: "1 client", 8: "8 clients"}

GROUP = "database 2 ms away"


def measure(stage: Stage) -> Iterator[Figure]:
    """Rates and latencies against the literal port; first the distance itself."""
    database, executed = stage.executed()
    requests = {"launch": TOMORROW, "status": Request("GET", f"/{executed}")}
    with _distant(database) as url:
        (trips,) = in_turns(stage.rounds, partial(_round_trip, url))
        yield Figure(GROUP, "one round trip", "ms", trips)
        for target, request in requests.items():
            with ExitStack() as stack:
                ours = stack.enter_context(stage.function(target, url))
                theirs = stack.enter_context(stage.literal(target, url))
                for clients in CLIENTS:
                    loads = in_turns(
                        stage.rounds,
                        partial(_load, stage, database, ours, request, clients),
                        partial(_load, stage, database, theirs, request, clients),
                    )
                    yield from _figures(f"{target}, {CLIENTS[clients]}", *loads)


def _figures(name: str, ours: list[Load], theirs: list[Load]) -> Iterator[Figure]:
    yield Figure(
        GROUP,
        f"{name}, rate",
        "/s",
        [each.rate for each in ours],
        [each.rate for each in theirs],
        "literal port",
    )
    yield Figure(
        GROUP,
        f"{name}, p50",
        "ms",
        [each.percentile(50) * 1000 for each in ours],
        [each.percentile(50) * 1000 for each in theirs],
        "literal port",
    )


def _load(stage: Stage, database: str, url: str, request: Request, clients: int) -> Load:
    clear(database)
    return loaded(url, request, clients, stage.seconds)


@contextmanager
def _distant(database: str) -> Iterator[str]:
    """The URL of a database behind a wire that takes its time.

    The proxy has a process of its own, since it would wait for the clients' otherwise.
    """
    port = free_port()
    command = python("-m", "local_dev.bench.proxy", database, "--port", str(port))
    with run(*command, "--delay", str(DELAY), cwd=ROOT, environ={}) as process:
        process.wait_until(lambda: listens(port))
        yield behind(port, database)


def _round_trip(url: str) -> float:
    """Milliseconds that the smallest of statements takes, the median of some."""
    with psycopg.connect(url, autocommit=True) as connection:
        return statistics.median(_milliseconds(connection) for _ in range(50))


def _milliseconds(connection: psycopg.Connection) -> float:
    begun = time.perf_counter()
    connection.execute("select 1")
    return (time.perf_counter() - begun) * 1000
