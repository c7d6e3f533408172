"""Workflows that fail in every way there is, with a secret in the message or without."""

from collections.abc import Awaitable, Callable
from typing import Any

from dbos import DBOS

from worker import PublicError, workflow

SECRET = "insert into card values ('4111')"


class Declined(PublicError):
    def __init__(self, reason: str, card: str) -> None:
        super().__init__(f"declined: {reason}")
        self.card = card


def declined() -> Exception:
    error = Declined("stolen", card=SECRET)
    error.__cause__ = OSError(SECRET)
    error.add_note(SECRET)
    return error


def secret() -> Exception:
    return OSError(SECRET)


def first() -> Exception:
    return KeyError(SECRET)


MAKERS: dict[str, Callable[[], Exception]] = {
    "public": declined,
    "secret": secret,
    "first": first,
}


@DBOS.step(name="spills")
def spills(kind: str) -> None:
    raise MAKERS[kind]()


@DBOS.step(name="spills_async")
async def spills_async(kind: str) -> None:
    raise MAKERS[kind]()


@DBOS.step(name="spills_again", retries_allowed=True, max_attempts=3, interval_seconds=0.01)
def spills_again(kind: str) -> None:
    raise MAKERS[kind]()


@DBOS.step(name="spills_again_async", retries_allowed=True, max_attempts=3, interval_seconds=0.01)
async def spills_again_async(kind: str) -> None:
    raise MAKERS[kind]()


@DBOS.workflow(name="spilling_child")
def child(kind: str) -> None:
    raise MAKERS[kind]()


@DBOS.workflow(name="async_spilling_child")
async def child_async(kind: str) -> None:
    raise MAKERS[kind]()


def body(kind: str) -> None:
    raise MAKERS[kind]()


WAYS: dict[str, Callable[[str], Any]] = {
    "step": spills,
    "retries": spills_again,
    "body": body,
    "child": child,
    "enqueued": lambda kind: DBOS.enqueue_workflow("report_queue", child, kind).get_result(
        polling_interval_sec=0.05
    ),
}


async def body_async(kind: str) -> None:
    raise MAKERS[kind]()


async def enqueued_async(kind: str) -> None:
    handle = await DBOS.enqueue_workflow_async("report_queue", child_async, kind)
    await handle.get_result(polling_interval_sec=0.05)


WAYS_ASYNC: dict[str, Callable[[str], Awaitable[None]]] = {
    "step": spills_async,
    "retries": spills_again_async,
    "body": body_async,
    "child": child_async,
    "enqueued": enqueued_async,
}


@workflow()
def secrets(way: str, kind: str) -> None:
    """Fail after a step that fails, too."""
    try:
        spills("first")
    except KeyError:
        WAYS[way](kind)


@workflow()
async def secrets_async(way: str, kind: str) -> None:
    """The same in an async workflow."""
    try:
        await spills_async("first")
    except KeyError:
        await WAYS_ASYNC[way](kind)


@workflow()
def caught_twice() -> list[str]:
    """Tell what is caught of an error that callers do not read, wait, and fail with it."""
    try:
        spills("secret")
    except OSError as error:
        DBOS.set_event("caught", str(error))
        DBOS.recv("go", timeout_seconds=600)
        raise
    return []
