"""Blocks let exceptions of users pass as they are."""

import asyncio
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from worker.blocks import block
from worker.children import _set, executed
from worker.outcomes import contained
from worker.running import Running
from worker.witness import Mark


@dataclass(frozen=True)
class Frozen(Exception):
    code: int


@block
def plain(seen: list[str]) -> Iterator[int]:
    try:
        yield 1
    finally:
        seen.append("ended")


@block
def other() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise LookupError from error


def test_a_block_yields_and_goes_on_afterwards() -> None:
    """As with contextlib."""
    seen: list[str] = []

    with plain(seen) as yielded:
        seen.append("within")

    assert (yielded, seen) == (1, ["within", "ended"])


@pytest.mark.parametrize("error", [Frozen(1), StopIteration(1), RuntimeError(), SystemExit(1)])
def test_an_exception_passes_as_it_is(error: BaseException) -> None:
    """Also one that refuses changes, or that generators cannot raise."""
    seen: list[str] = []

    with pytest.raises(type(error)) as raised, plain(seen):
        raise error

    assert raised.value is error
    assert seen == ["ended"]
    assert "worker/blocks.py" not in "".join(traceback.format_tb(error.__traceback__))


def test_a_block_may_raise_another_exception() -> None:
    """With the one that it was raised from."""
    first = Frozen(1)

    with pytest.raises(LookupError) as raised, other():
        raise first

    assert raised.value.__cause__ is first


def _marked(function: Callable[[], Any]) -> Any:
    return Running()._step(function, Mark("id", "workflow"))()


def _executed(function: Callable[[], Any]) -> Any:
    with _set(executed, function):
        return function()


@pytest.mark.parametrize("call", [_marked, _executed, lambda function: contained(function)()])
def test_steps_and_workflows_raise_exceptions_that_refuse_changes(
    call: Callable[[Callable[[], Any]], Any],
) -> None:
    """A frozen dataclass is caught around a step as in plain Python."""

    def step() -> None:
        raise Frozen(1)

    with pytest.raises(Frozen):
        call(step)


def test_async_steps_raise_exceptions_that_refuse_changes() -> None:
    """Each time that the event loop goes on with one, it is in a block."""

    async def step() -> None:
        raise Frozen(1)

    with pytest.raises(Frozen):
        asyncio.run(_marked(step))
