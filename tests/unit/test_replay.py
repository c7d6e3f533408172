"""What an execution of a run has recorded, against what its code calls."""

import threading
from collections.abc import Sequence
from contextvars import copy_context

import pytest
from dbos._context import DBOSContext, _set_local_dbos_context

from worker.held import Mismatch
from worker.replay import Replay, place_of_result

NOW = 1_000_000
"""Milliseconds."""

LATER = "1600.0"
"""Seconds, as DBOS records until when it sleeps."""

STEPS = [(1, "a", NOW, None), (2, "b", NOW, None)]

WAITS = [*STEPS, (4, "DBOS.sleep", NOW, LATER)]

SLEEPS = [*STEPS, (4, "DBOS.sleep", 1_600_000, LATER)]

WAITED = [*STEPS, (3, "DBOS.recv", NOW, None), (4, "DBOS.sleep", NOW, LATER)]

Recorded = Sequence[tuple[int, str, int, str | None]]


def replay_of(recorded: Recorded) -> Replay:
    """A replay of what is recorded."""
    replay = Replay()
    replay.read(recorded)
    return replay


@pytest.mark.parametrize(
    ("recorded", "number", "name", "expected"),
    [
        (STEPS, 1, "a", None),
        (STEPS, 2, "c", Mismatch(2, "b", "c")),
        (STEPS, 3, "c", None),
        (WAITS, 3, "DBOS.recv", None),
        (WAITS, 3, "DBOS.getEvent", None),
        (WAITS, 3, "c", Mismatch(3, "DBOS.recv or DBOS.getEvent", "c")),
        (WAITS, 3, "DBOS.sleep", Mismatch(3, "DBOS.recv or DBOS.getEvent", "DBOS.sleep")),
        (SLEEPS, 3, "c", None),
        (WAITED, 3, "c", Mismatch(3, "DBOS.recv", "c")),
        ([], 1, "c", None),
    ],
)
def test_names_are_compared_by_number(
    recorded: Recorded, number: int, name: str, expected: Mismatch | None
) -> None:
    """Where a run waits, only the timeout is recorded; a sleep beside a step looks similar."""
    assert replay_of(recorded).mismatch(number, name) == expected


@pytest.mark.parametrize(
    ("recorded", "last", "expected"),
    [
        (STEPS, 2, None),
        (STEPS, 1, Mismatch(2, "b", None)),
        (STEPS, 0, Mismatch(1, "a", None)),
        (WAITED, 4, None),
    ],
)
def test_code_that_ends_early_leaves_a_rest(
    recorded: Recorded, last: int, expected: Mismatch | None
) -> None:
    """The first operation beyond the last number that it has used."""
    assert replay_of(recorded).rest(last) == expected


def test_nothing_begins_before_all_that_is_recorded_was_called() -> None:
    """Operations that are called together are looked at in any order."""
    replay = replay_of(STEPS)
    begun = threading.Event()

    def begin() -> None:
        replay.wait_for_those_before(3, lambda: False)
        begun.set()

    replay.note(2)
    thread = threading.Thread(target=begin)
    thread.start()
    early = begun.wait(0.1)
    replay.note(1)
    thread.join(10)

    assert (early, begun.is_set()) == (False, True)


@pytest.mark.parametrize(
    ("recorded", "over"),
    [
        (WAITS, False),
        (WAITED, True),
        ([*STEPS, (3, "DBOS.getResult", NOW, None), (4, "DBOS.patch-p", NOW, None)], True),
    ],
)
def test_it_is_over_when_all_was_called(recorded: Recorded, over: bool) -> None:
    """DBOS looks for neither timeouts of waits that are over nor results and patches."""
    replay = replay_of(recorded)
    before = replay.is_over
    for number, *_ in recorded:
        replay.note(number) if number <= 3 else None

    assert (before, replay.is_over) == (False, over)


@pytest.mark.parametrize(
    ("number", "name", "expected"),
    [(2, "b", False), (3, "c", True), (3, "DBOS.recv", False), (3, "DBOS.sleep", False)],
)
def test_what_was_not_recorded_is_begun_for_the_first_time(
    number: int, name: str, expected: bool
) -> None:
    """Of what DBOS does by itself that is not certain: it may repeat it."""
    assert replay_of(STEPS).begins(number, name) is expected


@pytest.mark.parametrize(
    ("step", "given", "expected"),
    [(-1, False, ("one", 8)), (-1, True, ("one", 7)), (3, False, None), (3, True, ("one", 7))],
    ids=["code", "numbered", "step", "numbered beside a step"],
)
def test_a_result_is_recorded_where_dbos_records_it(
    step: int, given: bool, expected: tuple[str, int] | None
) -> None:
    """In a step it records nothing, unless the call was given its number before."""
    context = DBOSContext()
    context.workflow_id, context.function_id = "one", 7
    context.curr_step_function_id = step

    inside = copy_context()
    inside.run(_set_local_dbos_context, context)
    place = inside.run(place_of_result, context if given else None)

    assert place == expected
    assert place_of_result(None) is None
