"""All faults at random, for minutes: `uv run pytest -m chaos -n0 -s`."""

import random
import signal
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from local_dev.bench.processes import Process
from local_dev.bench.proxy import Proxy
from tests.fleet import Fleet, fleet, freeze, restart_postgres, restartable_postgres, thaw

WORKERS = 3

SETTLED = 6.0
"""Seconds after which a worker that has started, or is back, can take others over."""

NEAR = (-8.0, 8.0)
"""Seconds from a fault to a restart of Postgres that may make the takeover take longer."""


@dataclass
class Member:
    """A worker with a network of its own."""

    process: Process
    network: Proxy
    ready_at: float
    heal: Callable[[], object] | None = None
    heal_at: float = 0.0


@dataclass
class Fault:
    """What was done to a worker."""

    kind: str
    pid: int
    time: float


@dataclass
class Chaos:
    """A fleet, and what has been done to it."""

    workers: Fleet
    data: Path
    random: random.Random
    stack: ExitStack
    members: list[Member] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    restarts: list[float] = field(default_factory=list)

    def join(self) -> None:
        """Start a worker."""
        network = self.stack.enter_context(Proxy(self.workers.database))
        process = self.workers.start(
            DBOS_SYSTEM_DATABASE_URL=network.url, DRAIN_TIMEOUT="0.5", POLLING_INTERVAL="0.1"
        )
        self.members.append(Member(process, network, time.monotonic() + SETTLED))

    def act(self) -> None:
        """Do something bad, but leave one worker in good health."""
        self.heal()
        well = [m for m in self.members if not m.heal and m.ready_at < time.monotonic()]
        if len(well) < 2:
            return
        always = [self.kill, self.freeze, self.cut, self.hang_up, self.end_lease, self.drain]
        fault = self.random.choice([*always, self.restart])
        fault(self.random.choice(well))

    def heal(self, *, at_once: bool = False) -> None:
        """Undo what has lasted long enough."""
        for member in list(self.members):
            if member.heal and (at_once or member.heal_at < time.monotonic()):
                member.heal()
                member.heal, member.ready_at = None, time.monotonic() + SETTLED

    def record(self, kind: str, member: Member) -> None:
        """Tell what is done."""
        self.faults.append(Fault(kind, member.process.popen.pid, time.time()))
        print(f"{time.strftime('%X')} {kind} {member.process.popen.pid}", flush=True)  # noqa: T201

    def kill(self, member: Member) -> None:
        """SIGKILL."""
        self.record("kill", member)
        member.process.stop(signal.SIGKILL)
        self.members.remove(member)
        self.join()

    def drain(self, member: Member) -> None:
        """SIGTERM."""
        self.record("drain", member)
        assert member.process.stop(signal.SIGTERM) == 0
        self.members.remove(member)
        self.join()

    def freeze(self, member: Member) -> None:
        """SIGSTOP, and SIGCONT some seconds later."""
        self.record("freeze", member)
        freeze(member.process)
        self.later(member, lambda: self.wake(member))

    def wake(self, member: Member) -> None:
        """SIGCONT; one that was frozen for long ends itself."""
        thaw(member.process)
        with suppress(subprocess.TimeoutExpired):
            assert member.process.popen.wait(1) == 1
            self.members.remove(member)
            self.join()

    def cut(self, member: Member) -> None:
        """Nothing gets through the network for some seconds."""
        self.record("cut", member)
        frozen = self.stack.enter_context(ExitStack())
        frozen.enter_context(member.network.frozen())
        self.later(member, frozen.close)

    def later(self, member: Member, heal: Callable[[], object]) -> None:
        """Have `member` healed after a while, before or after it was declared dead."""
        member.heal = heal
        member.heal_at = time.monotonic() + self.random.uniform(1, 14)

    def hang_up(self, member: Member) -> None:
        """Close all its connections."""
        self.record("hang up", member)
        member.network.cut()
        member.ready_at = time.monotonic() + SETTLED

    def end_lease(self, member: Member) -> None:
        """`pg_terminate_backend`."""
        self.record("end lease", member)
        self.workers.end_lease(member.process)
        member.ready_at = time.monotonic() + SETTLED

    def restart(self, member: Member) -> None:
        """Kill Postgres as well, sometimes in the middle of a takeover."""
        if self.random.random() < 0.5:
            self.record("kill", member)
            member.process.stop(signal.SIGKILL)
            self.members.remove(member)
            time.sleep(self.random.uniform(0, 1.5))
        print(f"{time.strftime('%X')} restart postgres", flush=True)  # noqa: T201
        self.restarts.append(time.time())
        restart_postgres(self.data)
        while len(self.members) < WORKERS:
            self.join()

    def takeovers(self, *kinds: str) -> dict[str, list[float]]:
        """Seconds from faults of some kinds to the next execution of what the worker was executing;
        apart those near a restart of Postgres, and those of what had been taken over before and
        got no step further since, since that is begun again with a delay."""
        found: dict[str, list[float]] = {"": [], "Postgres restarting": [], "twice in a row": []}
        lines = self.workers.lines()
        for fault in self.faults:
            if fault.kind not in kinds:
                continue
            near = any(NEAR[0] < at - fault.time < NEAR[1] for at in self.restarts)
            for workflow in {line.workflow for line in lines if line.pid == fault.pid}:
                of_it = [line for line in lines if line.workflow == workflow]
                starts = [line for line in of_it if line.event == "start"]
                before = [line for line in starts if line.time <= fault.time]
                after = [x for x in starts if x.time > fault.time and x.pid != fault.pid]
                last = max(line.time for line in of_it if line.pid == fault.pid)
                finished = last < fault.time - 2  # A step takes less.
                if not before or before[-1].pid != fault.pid or not after or finished:
                    continue
                ends = [x for x in of_it if x.event == "end" and x.time <= fault.time]
                further = any(x.execution == before[-1].execution for x in ends)
                case = "" if further or len(before) == 1 else "twice in a row"
                found["Postgres restarting" if near else case].append(after[0].time - fault.time)
        return found


@contextmanager
def chaos(project: Path, data: Path, seed: int) -> Iterator[Chaos]:
    """A fleet to be treated badly."""
    with restartable_postgres(data) as url, fleet(project, url) as workers, ExitStack() as stack:
        yield Chaos(workers, data, random.Random(seed), stack)


@pytest.mark.chaos
def test_nothing_is_lost_whatever_happens(
    project: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Each workflow ends once with the right result; only steps in flight run again."""
    seed = request.config.getoption("--chaos-seed") or random.randrange(10**6)
    seconds = request.config.getoption("--chaos-seconds")
    print(f"\n--chaos-seed={seed} --chaos-seconds={seconds:g}")  # noqa: T201
    with chaos(project, tmp_path / "data", seed) as mess:
        for _ in range(WORKERS):
            mess.join()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            mess.workers.launch(
                count=mess.random.randint(1, 12),
                steps=mess.random.randint(1, 12),
                seconds=mess.random.uniform(0.05, 0.8),
            )
            time.sleep(mess.random.uniform(0.3, 1.5))
            if mess.random.random() < 0.5:
                mess.act()
            else:
                mess.heal()
        mess.heal(at_once=True)
        mess.workers.wait_until_finished(deadline=120)
        repeated = mess.workers.check()
        count = len(mess.workers.launched)
        print(f"{count} workflows, {len(mess.faults)} faults, {repeated} steps again")  # noqa: T201
        for kinds in (("kill",), ("drain",), ("freeze", "cut")):
            for case, takeovers in mess.takeovers(*kinds).items():
                print(summary(kinds, case, takeovers))  # noqa: T201


def summary(kinds: tuple[str, ...], case: str, seconds: list[float]) -> str:
    """One line about takeovers."""
    what = ", ".join(filter(None, [f"takeover after {' or '.join(kinds)}", case]))
    if not seconds:
        return f"{what}: none"
    median, most = statistics.median(seconds), max(seconds)
    return f"{what}: {len(seconds)} workflows, median {median:.2f} s, maximum {most:.2f} s"
