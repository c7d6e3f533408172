"""What a warm launch and a warm status ask of the database, counted on the wire."""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import NamedTuple

from .figures import Figure, Goal, in_turns
from .launching import LAUNCH
from .load import Request, ask
from .proxy import Proxy
from .stage import Stage, enqueue

WARM = 3
"""Requests before those that are counted."""

COUNTED = 20

ROUND_TRIPS = {"launch": 4, "status": 2, "status, enqueued": 2}
"""At most so many are the goal."""


class Crossing(NamedTuple):
    """What one request has caused."""

    round_trips: int
    connections: int


def measure(stage: Stage) -> Iterator[Figure]:
    """Round trips and new connections, against the literal port."""
    database, executed = stage.executed()
    (enqueued,) = enqueue(database, 1)
    requests = {
        "launch": LAUNCH,
        "status": Request("GET", f"/{executed}"),
        "status, enqueued": Request("GET", f"/{enqueued}"),
    }
    for name, request in requests.items():
        crossings = _crossings(stage, database, name.partition(",")[0], request)
        most = Goal("median", "at most", ROUND_TRIPS[name])
        yield _figure(f"{name}, round trips", most, [[e.round_trips for e in c] for c in crossings])
        none = Goal("maximum", "at most", 0)
        yield _figure(
            f"{name}, new connections", none, [[e.connections for e in c] for c in crossings]
        )


def _figure(name: str, goal: Goal, counts: list[list[int]]) -> Figure:
    ours, theirs = counts
    return Figure("on the wire", name, "", ours, theirs, "literal port", goal)


def _crossings(
    stage: Stage, database: str, target: str, request: Request
) -> tuple[list[Crossing], list[Crossing]]:
    with ExitStack() as stack:
        wires = [stack.enter_context(Proxy(database)) for _ in range(2)]
        ours = stack.enter_context(stage.function(target, wires[0].url))
        theirs = stack.enter_context(stage.literal(target, wires[1].url))
        measures = [
            partial(_crossing, wire, url, request)
            for wire, url in zip(wires, (ours, theirs), strict=True)
        ]
        in_turns(WARM, *measures)
        first, second = in_turns(COUNTED, *measures)
        return first, second


def _crossing(wire: Proxy, url: str, request: Request) -> Crossing:
    before = (wire.round_trips, wire.connections)
    ask(url, request)
    return Crossing(wire.round_trips - before[0], wire.connections - before[1])
