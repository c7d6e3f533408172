"""Resident memory of a function and of a worker. Only Linux tells it, in /proc."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from .figures import Figure
from .launching import LAUNCH, loaded
from .processes import Process, together, wait_until
from .stage import REFERENCES, ROOT, Stage, clear, enqueue, framework, unfinished

CLIENTS = 8

GROUP = "resident memory"

State = tuple[float, float]
"""MiB at rest, and after load."""


def measure(stage: Stage) -> Iterator[Figure]:
    """New processes in each round, at rest and then after load."""
    rounds = 1 if stage.quick else stage.rounds
    ours, theirs = stage.database(), stage.empty_database()
    workers = [_workers(stage, ours, theirs) for _ in range(rounds)]
    functions = [_functions(stage, ours, theirs) for _ in range(rounds)]
    yield from _figures("function", functions, "literal port")
    yield from _figures("worker", workers, "plain worker")


def _figures(name: str, turns: list[tuple[State, State]], against: str) -> Iterator[Figure]:
    for at, when in enumerate(("at rest", "after load")):
        ours = [project[at] for project, _ in turns]
        theirs = [reference[at] for _, reference in turns]
        yield Figure(GROUP, f"{name}, {when}", "MiB", ours, theirs, against)


def _functions(stage: Stage, ours: str, theirs: str) -> tuple[State, State]:
    """At rest after the first launch, then after some seconds with CLIENTS clients."""
    source = ROOT / "functions" / "main.py"
    settings = {"DBOS_SYSTEM_DATABASE_URL": ours, "AUTH": "none"}
    literal_settings = {"DBOS_SYSTEM_DATABASE_URL": theirs}
    with ExitStack() as stack:
        launch, literal = together(
            stack,
            framework(source, "launch", settings),
            framework(REFERENCES / "literal.py", "launch", literal_settings),
        )
        return _function(stage, *launch, ours), _function(stage, *literal, theirs)


def _function(stage: Stage, url: str, process: Process, database: str) -> State:
    loaded(url, LAUNCH, 1, seconds=0.001)
    rest = resident(process)
    loaded(url, LAUNCH, CLIENTS, seconds=2 * stage.seconds)
    clear(database)
    return rest, resident(process)


def _workers(stage: Stage, ours: str, theirs: str) -> tuple[State, State]:
    """At rest once ready, then after some hundred workflows."""
    with ExitStack() as stack:
        project, plain = together(stack, stage.worker(ours), stage.plain_worker(theirs))
        return _worker(stage, project, ours), _worker(stage, plain, theirs)


def _worker(stage: Stage, process: Process, database: str) -> State:
    rest = resident(process)
    enqueue(database, 60 if stage.quick else 300)
    wait_until(lambda: not unfinished(database))
    return rest, resident(process)


def resident(process: Process) -> float:
    """MiB of a process and its children: what they have written, and the files that they map.

    Files count once, as what the children map is mapped by the largest of them, too.
    """
    family = [each for each in _processes() if _session(each) == process.popen.pid]
    written = sum(_kilobytes(each / "smaps_rollup", "Pss_Anon") for each in family)
    mapped = max(_kilobytes(each / "status", "RssFile") for each in family)
    return (written + mapped) / 1024


def _processes() -> Iterator[Path]:
    return Path("/proc").glob("[0-9]*")


def _session(process: Path) -> int:
    """The id of the process that leads its session."""
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[3])
    except OSError:  # It has ended.
        return 0


def _kilobytes(path: Path, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", path.read_text(), re.MULTILINE)
    assert found, path
    return int(found[1])
