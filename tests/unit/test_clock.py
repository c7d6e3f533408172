"""What is known of Postgres's clock from its answers; times are seconds on two made-up clocks."""

import time
from contextlib import nullcontext

import pytest

from worker import clock as clock_module
from worker.clock import DRIFT, TOLERATED_SECONDS, Clock

LEAD = 1000.0
"""By how much Postgres's clock is ahead of the steady one."""


def answered(clock: Clock, sent: float, there: float, received: float, lead: float = LEAD) -> None:
    """Ask at `sent`; Postgres reads its clock at `there`."""
    clock.learn(there + lead, sent, received)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock on a machine whose steady clock says 100."""
    monkeypatch.setattr(clock_module, "steady", lambda: 100.0)
    return Clock()


def test_before_postgres_was_asked_the_machine_is_believed(clock: Clock) -> None:
    """There is nothing to compare it with."""
    assert clock.now() == pytest.approx(time.time(), abs=60)
    assert clock.is_right


def test_it_is_wrong_by_half_a_round_trip_at_most(clock: Clock) -> None:
    """Wherever in the round trip Postgres reads its clock."""
    answered(clock, sent=98, there=98, received=100)

    assert clock.now() == 1099


def test_a_quick_answer_counts_more_than_slow_ones(clock: Clock) -> None:
    """Before or after it."""
    answered(clock, sent=90.0, there=90.0, received=94.0)
    answered(clock, sent=95.0, there=95.01, received=95.02)
    answered(clock, sent=96.0, there=100.0, received=100.0)

    assert clock.now() == pytest.approx(1100, abs=0.01 + 5 * DRIFT)


def test_what_is_known_grows_old(clock: Clock) -> None:
    """Two clocks run apart, which a slower answer shows in time."""
    answered(clock, sent=0.0, there=0.0, received=0.001)
    answered(clock, sent=99.9, there=99.95, received=100.0, lead=LEAD + 0.06)

    assert clock.now() == pytest.approx(1100.06, abs=0.06)
    assert clock.now() > 1100.03


@pytest.mark.parametrize("seconds", [3600, -3600, 0.5, -0.5])
def test_postgres_may_get_another_clock(clock: Clock, seconds: float) -> None:
    """Somebody sets it, or after a failover another server answers."""
    answered(clock, sent=98.0, there=98.01, received=98.02)
    answered(clock, sent=99.0, there=99.01, received=99.02, lead=LEAD + seconds)

    assert clock.now() == pytest.approx(1100 + seconds, abs=0.011)


@pytest.mark.parametrize(
    ("seconds", "problem"),
    [
        (TOLERATED_SECONDS - 0.1, None),
        (-TOLERATED_SECONDS + 0.1, None),
        (5.2, "the clock of this machine is 5.2 s ahead of that of Postgres"),
        (-7200.0, "the clock of this machine is 7200.0 s behind that of Postgres"),
    ],
)
def test_a_machine_is_wrong_by_more_than_is_tolerated(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, seconds: float, problem: str | None
) -> None:
    """Fast or slow."""
    answered(clock, sent=100, there=100, received=100)
    monkeypatch.setattr(time, "time", lambda: 1100 + seconds)

    assert clock.offset == pytest.approx(seconds)
    assert clock.problem() == problem
    assert clock.is_right == (problem is None)


def test_sweeps_are_left_to_others_while_the_clock_is_wrong(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their lock is not even taken."""
    answered(clock, sent=100, there=100, received=100)
    guarded = clock.while_right(lambda *_: nullcontext(True))
    taken = []

    for says in (1100, 1200, 1100):
        monkeypatch.setattr(time, "time", lambda says=says: says)
        with guarded(None, "background_jobs") as acquired:
            taken.append(acquired)

    assert taken == [True, False, True]
