"""Two hundred clients at once, and a database that has room for twenty connections."""

import asyncio
import itertools
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import psycopg

from local_dev.postgres import postgres

from .figures import Figure, Goal, in_turns
from .load import Answer, Client, Request
from .pgbouncer import installed, pgbouncer
from .processes import DEADLINE, wait_until
from .stage import Stage, unfinished

CLIENTS = 200

CONNECTIONS = 20

INSTANCES = 4
"""Of the functions: with their pools they want as many connections as there are at all."""

BOUNCED = 5
"""Connections of PgBouncer to the server."""

NONE = Goal("maximum", "at most", 0)

EXECUTED = """
select count(*) - count(distinct i.inputs),
    count(distinct i.inputs) filter (where s.status = 'SUCCESS'),
    max(s.completed_at) / 1000.0
from dbos.workflow_status s
join dbos.workflow_input i using (workflow_uuid)
"""

Way = Callable[[str], AbstractContextManager[str]]
"""From the URL of a database to that which the functions use."""


@dataclass(frozen=True)
class Outcome:
    """What became of the launches."""

    failed: int
    """Answers that are 5xx and do not say when to come back."""
    put_off: int
    """Answers that do."""
    lost: int
    twice: int
    seconds: float
    """Until the last one had been executed."""


def measure(stage: Stage) -> Iterator[Figure]:
    """Each launch has to be executed, and each refusal to say when to come back."""
    launches, rounds = (200, 1) if stage.quick else (600, stage.rounds)
    with _small_postgres(stage.data / "small") as url:
        measures = [
            partial(_outcome, replace(stage, postgres=url), way, launches)
            for way in _ways().values()
        ]
        for name, outcomes in zip(_ways(), in_turns(rounds, *measures), strict=True):
            group = f"{launches} launches by {CLIENTS} clients, {CONNECTIONS} connections, {name}"
            yield from _figures(group, outcomes)


def _figures(group: str, outcomes: Sequence[Outcome]) -> Iterator[Figure]:
    failed = [each.failed for each in outcomes]
    yield Figure(group, "5xx without Retry-After", "", failed, goal=NONE)
    yield Figure(group, "lost", "", [each.lost for each in outcomes], goal=NONE)
    yield Figure(group, "launched twice", "", [each.twice for each in outcomes], goal=NONE)
    yield Figure(group, "503 with Retry-After", "", [each.put_off for each in outcomes])
    yield Figure(group, "all executed", "s", [each.seconds for each in outcomes])


def _ways() -> dict[str, Way]:
    ways: dict[str, Way] = {"direct": nullcontext}
    if program := installed():
        ways["through PgBouncer"] = partial(pgbouncer, program, size=BOUNCED)
    else:
        sys.stderr.write("PgBouncer is not installed, so what goes through it is left out.\n")
    return ways


@contextmanager
def _small_postgres(directory: Path) -> Iterator[str]:
    with postgres(directory) as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"alter system set max_connections = {CONNECTIONS}")
    with postgres(directory) as url:
        yield url


def _outcome(stage: Stage, way: Way, launches: int) -> Outcome:
    database = stage.database()
    with stage.worker(database):
        with way(database) as url, ExitStack() as stack:
            urls = [stack.enter_context(stage.server(url)) for _ in range(INSTANCES)]
            begun = time.time()
            answers = asyncio.run(_crowd(urls, launches))
        # The functions have left, so there is a connection to look with.
        with suppress(AssertionError):  # What does not end is lost.
            wait_until(lambda: not unfinished(database))
        with psycopg.connect(database) as connection:
            row = connection.execute(EXECUTED).fetchone()
    assert row
    twice, executed, ended = row
    failures = [each for each in answers if each.status >= 500]
    put_off = sum(map(_is_put_off, failures))
    return Outcome(
        len(failures) - put_off, put_off, launches - executed, twice, float(ended) - begun
    )


async def _crowd(urls: Sequence[str], launches: int) -> list[Answer]:
    """Every answer that the clients get, who share the launches.

    Each request goes to the next instance, as platforms balance them, also if it is repeated.
    """
    answers: list[Answer] = []
    instances = itertools.cycle(urls)
    names = iter([f"caller {number}" for number in range(launches)])

    async def come() -> None:
        for name in names:
            answers.extend([answer async for answer in _tries(instances, name)])

    await asyncio.gather(*[come() for _ in range(CLIENTS)])
    return answers


async def _tries(instances: Iterator[str], name: str) -> AsyncIterator[Answer]:
    """Launch until it is accepted, and wait as long as the answer says."""
    request = Request("POST", "/launch/greeting", json.dumps({"name": name}).encode())
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        client = Client(next(instances))
        answer = await client.ask(request)
        client.close()
        yield answer
        if not _is_put_off(answer):
            return
        await asyncio.sleep(int(answer.headers["retry-after"]))


def _is_put_off(answer: Answer) -> bool:
    return answer.status == 503 and "retry-after" in answer.headers
