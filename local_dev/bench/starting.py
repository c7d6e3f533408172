"""Cold starts: from the spawn of a process to its first answer."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial

from .figures import Figure, Goal, in_turns
from .launching import LAUNCH
from .load import Request, ask
from .stage import Stage

GROUP = "cold start to the first launch"

GOAL = Goal("ratio", "at most", 0.85)

Start = Callable[[], AbstractContextManager[str]]


def measure(stage: Stage) -> Iterator[Figure]:
    """One function and all of them, against the literal port and a handler that does nothing."""
    database = stage.database()
    starts = [
        partial(_seconds, partial(stage.function, "launch", database), LAUNCH),
        partial(
            _seconds, partial(stage.server, database), replace(LAUNCH, path="/launch/greeting")
        ),
        partial(_seconds, partial(stage.literal, "launch", database), LAUNCH),
        partial(_seconds, stage.nothing, LAUNCH),
    ]
    in_turns(1, *starts)  # This compiles what has never been imported.
    one, all, literal, nothing = in_turns(stage.rounds if stage.quick else 15, *starts)
    yield Figure(GROUP, "one function", "s", one, literal, "literal port", GOAL)
    yield Figure(GROUP, "all functions, uvicorn", "s", all, literal, "literal port", GOAL)
    yield Figure(GROUP, "one function", "s", one, nothing, "handler that does nothing")


def _seconds(start: Start, request: Request) -> float:
    begun = time.perf_counter()
    with start() as url:
        ask(url, request)
        return time.perf_counter() - begun
