"""From a launch to its result, and what a worker that waits for launches asks of Postgres."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, closing
from urllib.parse import urlsplit

import psycopg

from worker.lease import GRACE, HEARTBEAT

from .figures import Figure, Goal, in_turns
from .load import Client, Load, Request
from .processes import together
from .proxy import Proxy
from .stage import Stage

LAUNCH = Request("POST", "/launch/greeting?wait=30", b"{}")

LITERAL_LAUNCH = Request("POST", "/greeting", b"{}")

PAUSE = 0.3
"""Seconds between launches at most: more than the project's worker lets pass between looks."""

PAGE = 0.5
"""Seconds after which the guide's page asks again."""

STOCK = 1.0
"""Seconds between looks at a queue unless a DBOS worker is told otherwise."""

PERCENTILES = (50, 95)

SETTLED = GRACE + 2 * HEARTBEAT
"""Seconds after its start from which a worker does all that it does at rest."""

TRANSACTIONS = """
select sum(xact_commit + xact_rollback)::bigint from pg_stat_database where datname = %s
"""


def measure(stage: Stage) -> Iterator[Figure]:
    """Launch to result against the guide's page; round trips at rest against a plain worker."""
    with ExitStack() as stack:
        resting = _Resting(stage, stack)
        if stage.quick:  # They settle meanwhile, and disturb a little.
            yield from _latencies(stage)
        yield from resting.figures()
    if not stage.quick:
        yield from _latencies(stage)


def _latencies(stage: Stage) -> Iterator[Figure]:
    ours, theirs = stage.database(), stage.empty_database()
    launches, guide_launches = (3, 1) if stage.quick else (11, 5)
    with ExitStack() as stack:
        together(stack, stage.worker(ours), stage.plain_worker(theirs, STOCK))
        server, launch, status = together(
            stack,
            stage.server(ours),
            stage.literal("launch", theirs),
            stage.literal("status", theirs),
        )
        asyncio.run(_held(server, 1))
        asyncio.run(_asked(launch, status, 1))
        held, asked = in_turns(
            stage.rounds,
            lambda: asyncio.run(_held(server, launches)),
            lambda: asyncio.run(_asked(launch, status, guide_launches)),
        )
    for percent in PERCENTILES:
        yield Figure(
            "launch to result",
            f"?wait=30, p{percent}",
            "s",
            [each.percentile(percent) for each in held],
            [each.percentile(percent) for each in asked],
            "guide's page",
            Goal("median", "at most", 0.12) if percent == 50 else None,
        )


async def _held(server: str, launches: int) -> Load:
    """Launches whose answers are held until there is a result."""
    with closing(Client(server)) as client:

        async def once() -> None:
            answer = await client.ask(LAUNCH)
            assert answer.status == 200, answer

        return await _timed(once, launches, PAUSE)


async def _asked(launch: str, status: str, launches: int) -> Load:
    """Launches that are followed as the guide's page does it."""
    with closing(Client(launch)) as launching, closing(Client(status)) as asking:

        async def once() -> None:
            answer = await launching.ask(LITERAL_LAUNCH)
            request = Request("GET", f"/{json.loads(answer.body)['workflowID']}")
            state = None
            while state != "SUCCESS":
                await asyncio.sleep(PAGE)
                state = json.loads((await asking.ask(request)).body)["status"]
            for client in (launching, asking):
                client.close()  # Else gunicorn may do it after 2 s, and fail the next launch.

        return await _timed(once, launches, STOCK)


async def _timed(once: Callable[[], Awaitable[None]], times: int, pause: float) -> Load:
    """One after the other, after random pauses so that they do not keep step with a worker."""
    latencies = []
    begun = time.perf_counter()
    for _ in range(times):
        await asyncio.sleep(random.uniform(0, pause))
        sent = time.perf_counter()
        await once()
        latencies.append(time.perf_counter() - sent)
    return Load(sorted(latencies), time.perf_counter() - begun, Counter())


class _Resting:
    """A worker of the project and a plain one with nothing to do, each behind a proxy."""

    def __init__(self, stage: Stage, stack: ExitStack) -> None:
        self._stage = stage
        self._databases = (stage.database(), stage.empty_database())
        self._proxies = [stack.enter_context(Proxy(database)) for database in self._databases]
        ours, theirs = self._proxies
        together(stack, stage.worker(ours.url), stage.plain_worker(theirs.url))
        self._settled_at = time.monotonic() + SETTLED

    def figures(self) -> Iterator[Figure]:
        """Counted for both at the same time, since neither waits for the other."""
        time.sleep(max(0.0, self._settled_at - time.monotonic()))
        seconds = 1.0 if self._stage.quick else 4.0
        before, begun = self._transactions(), time.perf_counter()
        round_trips = [self._round_trips(seconds) for _ in range(self._stage.rounds)]
        elapsed = time.perf_counter() - begun
        transactions = [
            (now - then) / elapsed for now, then in zip(self._transactions(), before, strict=True)
        ]
        ours, theirs = zip(*round_trips, strict=True)
        goal = Goal("median", "at most", 40)
        against = "plain worker, polling every 0.1 s"
        yield Figure("worker at rest", "round trips", "/s", ours, theirs, against, goal)
        one, other = ([each] for each in transactions)
        yield Figure("worker at rest", "transactions", "/s", one, other, against)

    def _round_trips(self, seconds: float) -> list[float]:
        """Round trips per second of each, those of BEGIN and COMMIT included."""
        before, begun = [proxy.round_trips for proxy in self._proxies], time.perf_counter()
        time.sleep(seconds)
        elapsed = time.perf_counter() - begun
        return [
            (proxy.round_trips - then) / elapsed
            for proxy, then in zip(self._proxies, before, strict=True)
        ]

    def _transactions(self) -> list[int]:
        """How many there have been in each database, as far as Postgres has heard."""
        with psycopg.connect(self._stage.postgres) as connection:
            names = [urlsplit(database).path.removeprefix("/") for database in self._databases]
            rows = [connection.execute(TRANSACTIONS, (name,)).fetchone() for name in names]
        return [int(row[0]) for row in rows if row]
