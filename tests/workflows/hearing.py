"""Workflows that wait for something in each way that DBOS has, sync and async."""

from typing import Any

from dbos import DBOS

from worker import workflow

LONG = 600.0


@workflow()
def hears_signal() -> Any:
    return DBOS.recv("topic", timeout_seconds=LONG)


@workflow()
async def hears_signal_async() -> Any:
    return await DBOS.recv_async("topic", timeout_seconds=LONG)


@workflow()
def hears_event(of: str) -> Any:
    return DBOS.get_event(of, "key", timeout_seconds=LONG)


@workflow()
async def hears_event_async(of: str) -> Any:
    return await DBOS.get_event_async(of, "key", timeout_seconds=LONG)


@workflow()
def hears_stream(of: str) -> Any:
    DBOS.set_event("reads", True)
    return next(DBOS.read_stream(of, "key", polling_interval_sec=LONG))


@workflow()
async def hears_stream_async(of: str) -> Any:
    await DBOS.set_event_async("reads", True)
    return await anext(DBOS.read_stream_async(of, "key", polling_interval_sec=LONG))
