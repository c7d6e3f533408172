"""A process beside the worker, which tells what was executed when that could not speak any more.

Code that holds the GIL, such as a regular expression that backtracks, lets no other thread of its
process run: not the one that keeps the lease, and none that could log anything. The worker ends
itself then (`pulse`). Its witness notices before, from the memory that it shares with the worker,
says which workflow and step it was, and leaves it in the database for `explain`.

The worker starts it as a script of its own, which imports nothing of the worker: it costs a small
interpreter, loads psycopg only when it has something to record, and ends with the worker.
"""

import importlib
import json
import logging
import mmap
import os
import select
import signal
import struct
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

HEAD_BYTES = 8
"""For the count of beats; the slots follow."""

SLOT_BYTES = 4096
"""One page for each thread: an id has 1,024 characters at most."""

SLOTS = 1200
"""More than a worker has threads by default; what others execute is not marked. Memory is used only
for slots that are taken."""

BEATS = struct.Struct("<Q")

SLOT = struct.Struct("<QI")
"""The id that the system gave to a thread, and the length of the mark that follows as JSON."""

LOOK_SECONDS = 0.25
"""From one look to the next."""

SUSPECT_SECONDS = 1.0
"""Silence after which it gets ready: it notes how much CPU time each thread has used so far."""

TELL_SECONDS = 3.0
"""Silence after which it is told: 1.5 s before the worker ends itself, to reach the database."""

BUSY_SECONDS = 0.1
"""CPU time that a thread has spent at least if it is the one that holds the GIL."""

MOST = 20
"""Suspects that are told and recorded at most, of those that cannot be told apart."""

RECORD = """
insert into catalog.ended (workflow_uuid, step, step_name, certain, ended_at)
select workflow_uuid, coalesce(nullif(%s, 0), (
        select max(function_id) from dbos.operation_outputs o
        where o.workflow_uuid = s.workflow_uuid
    ), 0), nullif(%s, ''), %s, (extract(epoch from now()) * 1000)::bigint
from dbos.workflow_status s
where workflow_uuid = %s and executor_id = %s and status = 'PENDING'
on conflict (workflow_uuid) do update set
    step = excluded.step,
    step_name = excluded.step_name,
    certain = excluded.certain,
    ended_at = excluded.ended_at
"""
"""Without a name of a step, it was the workflow's own code after that step."""

FORGET = "delete from catalog.ended where workflow_uuid = %s"


class Mark(NamedTuple):
    """What a thread executes; no step while it is the workflow's own code."""

    workflow_id: str
    workflow: str
    step: int = 0
    step_name: str = ""

    def __str__(self) -> str:
        """For people."""
        step = f"step {self.step} ({self.step_name})" if self.step else "in no step"
        return f"workflow {self.workflow_id} ({self.workflow}), {step}"


class Suspects(NamedTuple):
    """What the code that holds the GIL belongs to: one thing if that is certain."""

    marks: list[Mark]
    certain: bool

    def __str__(self) -> str:
        """For people."""
        if not self.marks:
            return "none that a workflow executes"
        listed = "; ".join(map(str, self.marks))
        return listed if self.certain else f"that of one of these: {listed}"


def read(memory: mmap.mmap) -> dict[int, Mark]:
    """What the threads of the worker execute."""
    marks = {}
    for begin in range(HEAD_BYTES, len(memory) - SLOT_BYTES + 1, SLOT_BYTES):
        thread, length = SLOT.unpack_from(memory, begin)
        if length:
            text = memory[begin + SLOT.size : begin + SLOT.size + length]
            with suppress(ValueError, TypeError):  # It was being written.
                marks[thread] = Mark(*json.loads(text))
    return marks


class Worker(NamedTuple):
    """The process that is watched, as Linux shows it; elsewhere nothing is known of it."""

    pid: int

    def stopped(self) -> bool:
        """Whether somebody else has frozen it."""
        with suppress(OSError, IndexError):
            stat = Path(f"/proc/{self.pid}/stat").read_text()
            return stat.rpartition(")")[2].split()[0] in "Tt"
        return False

    def cpu_seconds(self) -> dict[int, float]:
        """How long each thread has used a CPU."""
        ticks, seconds = os.sysconf("SC_CLK_TCK"), {}
        with suppress(OSError):
            for thread in Path(f"/proc/{self.pid}/task").iterdir():
                with suppress(OSError, IndexError):
                    fields = (thread / "stat").read_text().rpartition(")")[2].split()
                    seconds[int(thread.name)] = (int(fields[11]) + int(fields[12])) / ticks
        return seconds


def suspects(marks: dict[int, Mark], before: dict[int, float], after: dict[int, float]) -> Suspects:
    """Those whose threads have used the CPU meanwhile; all if none has.

    Who waits for the GIL uses hardly any; who holds it, nearly all, unless it sleeps.
    """
    used = {thread: seconds - before.get(thread, 0.0) for thread, seconds in after.items()}
    most = max(used.values(), default=0.0)
    if most < BUSY_SECONDS:
        return Suspects(list(marks.values())[:MOST], certain=len(marks) == 1)
    busy = [thread for thread, seconds in used.items() if seconds > most / 3]
    found = [marks[thread] for thread in busy if thread in marks]
    return Suspects(found[:MOST], certain=len(busy) == 1)


class Witness:
    """Looks at the beats of a worker."""

    def __init__(self, worker: Worker, memory: mmap.mmap, executor_id: str) -> None:
        self._worker = worker
        self._memory = memory
        self._executor_id = executor_id
        self._beats = 0
        self._silent_seconds = 0.0
        self._cpu_seconds: dict[int, float] | None = None
        self._told: Suspects | None = None
        self._stopped = False

    def look(self, seconds: float) -> None:
        """Tell when nothing was heard for too long; `seconds` have passed since the last look."""
        (beats,) = BEATS.unpack_from(self._memory, 0)
        if beats != self._beats:
            self._beats = beats
            self._hear()
        elif self._worker.stopped():
            self._silent_seconds, self._stopped = 0.0, True
        else:
            # Not more than a look takes: this process may have been frozen, too.
            self._silent_seconds += min(seconds, 2 * LOOK_SECONDS)
            self._suspect()

    def _hear(self) -> None:
        if self._told:
            say(logging.WARNING, "the GIL was let go, and the worker goes on")
            with suppress(Exception):
                self._execute(FORGET, [(mark.workflow_id,) for mark in self._told.marks])
        self._silent_seconds, self._cpu_seconds = 0.0, None
        self._told, self._stopped = None, False

    def _suspect(self) -> None:
        if self._silent_seconds >= SUSPECT_SECONDS and self._cpu_seconds is None:
            self._cpu_seconds = self._worker.cpu_seconds()
            with suppress(ImportError):  # Takes a while, perhaps as long as is left later.
                importlib.import_module("psycopg")
        if self._silent_seconds >= TELL_SECONDS and self._told is None:
            before, after = self._cpu_seconds or {}, self._worker.cpu_seconds()
            self._told = suspects(read(self._memory), before, after)
            say(
                logging.CRITICAL,
                f"code has held the GIL for {TELL_SECONDS:g} s, and the worker ends unless it lets "
                f"go, as it would lose its lease: {self._told}",
            )
            self._record(self._told)

    def _record(self, told: Suspects) -> None:
        rows = [
            (mark.step, mark.step_name, told.certain, mark.workflow_id, self._executor_id)
            for mark in told.marks
        ]
        try:
            self._execute(RECORD, rows)
        except Exception as error:  # Whatever it is: the worker ends all the same.
            say(logging.WARNING, f"that cannot be recorded: {type(error).__name__}")

    def _execute(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        import psycopg

        url = os.environ["DBOS_SYSTEM_DATABASE_URL"]
        name = f"dbos-functions witness {self._executor_id}"
        arguments: dict[str, Any] = {
            "application_name": name,
            "connect_timeout": 2,
            "target_session_attrs": "read-write",
        }
        with (
            psycopg.connect(url, **arguments) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute("set statement_timeout = '1s'")
            cursor.executemany(statement.encode(), rows)

    def leave(self) -> None:
        """Say why the worker has ended, if only its witness knows."""
        if self._stopped:
            say(logging.CRITICAL, "the worker was frozen, and has ended itself when it woke up")


def say(level: int, message: str) -> None:
    """Log in the worker's name: for people on a terminal, a JSON line everywhere else."""
    now, name = datetime.now(UTC), logging.getLevelName(level)
    record = {"level": name, "logger": "worker", "message": message, "time": now.isoformat()}
    terminal = sys.stderr.isatty()
    line = f"{now:%Y-%m-%d %H:%M:%S} {name} {message}" if terminal else json.dumps(record)
    with suppress(OSError):
        os.write(sys.stderr.fileno(), f"{line}\n".encode(errors="backslashreplace"))


def main() -> None:
    """Look until the worker ends, which closes the other end of the standard input."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # They are for the worker, which drains first.
    pid, descriptor, executor_id = sys.argv[1:]
    memory = mmap.mmap(int(descriptor), 0, access=mmap.ACCESS_READ)
    witness = Witness(Worker(int(pid)), memory, executor_id)
    looked_at = time.monotonic()
    while not select.select([sys.stdin], [], [], LOOK_SECONDS)[0]:
        now = time.monotonic()
        witness.look(now - looked_at)
        looked_at = now
    witness.leave()


if __name__ == "__main__":
    main()
