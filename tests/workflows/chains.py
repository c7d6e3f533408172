"""Async workflows that do several things at once; what a step returns names who has asked."""

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

from dbos import DBOS

from worker import workflow


async def link(path: str, asked: str, seconds: float) -> str:
    """Take a while, leave a line, and return it: who has asked, and which execution this is."""
    await asyncio.sleep(random.random() * seconds)
    return note(path, asked)


def note(path: str, asked: str) -> str:
    line = f"{asked} {uuid.uuid4().hex}"
    with Path(path).open("a") as ledger:
        ledger.write(f"{line}\n")
    return line


@DBOS.step(name="link")
async def decorated(path: str, asked: str, seconds: float) -> str:
    return await link(path, asked, seconds)


@DBOS.workflow(name="chains_child")
async def child(path: str, asked: str, seconds: float) -> str:
    return await link(path, asked, seconds)


async def step(path: str, asked: str, seconds: float) -> str:
    return await DBOS.run_step_async({"name": "link"}, link, path, asked, seconds)


async def sync_step(path: str, asked: str, seconds: float) -> str:
    return await DBOS.run_step_async({"name": "link"}, note, path, asked)


async def called(path: str, asked: str, seconds: float) -> str:
    return await child(path, asked, seconds)


async def started(path: str, asked: str, seconds: float) -> str:
    handle = await DBOS.start_workflow_async(child, path, asked, seconds)
    return await handle.get_result()


async def enqueued(path: str, asked: str, seconds: float) -> str:
    handle = await DBOS.enqueue_workflow_async("order_queue", child, path, asked, seconds)
    return await handle.get_result()


async def rested(path: str, asked: str, seconds: float) -> str:
    await DBOS.sleep_async(random.random() * seconds)
    return await step(path, asked, seconds)


async def told(path: str, asked: str, seconds: float) -> str:
    said = await step(path, asked, seconds)
    await DBOS.send_async(str(DBOS.workflow_id), said, topic=asked)
    return str(await DBOS.recv_async(asked, timeout_seconds=600))


async def asked_for(path: str, asked: str, seconds: float) -> str:
    said = await step(path, asked, seconds)
    await DBOS.set_event_async(asked, said)
    return str(await DBOS.get_event_async(str(DBOS.workflow_id), asked, timeout_seconds=600))


Way = Callable[[str, str, float], Awaitable[str]]

WAYS: tuple[Way, ...] = (
    decorated,
    rested,
    started,
    step,
    told,
    called,
    sync_step,
    asked_for,
    enqueued,
)


async def chain(path: str, number: int, ways: list[Way], seconds: float) -> list[str]:
    return [await way(path, f"{number}.{n}", seconds) for n, way in enumerate(ways)]


@workflow()
async def chains(path: str, count: int, length: int, seconds: float) -> list[list[str]]:
    """Go through chains of steps of one name, at the same time."""
    ways: list[Way] = [step] * length
    return await asyncio.gather(*(chain(path, n, ways, seconds) for n in range(count)))


@workflow()
async def mixed_chains(path: str, count: int, seconds: float) -> list[list[str]]:
    """Go through chains of all that can be awaited, each in another order."""
    ways = [[*WAYS[n:], *WAYS[:n]] for n in range(count)]
    return await asyncio.gather(*(chain(path, n, each, seconds) for n, each in enumerate(ways)))


Seen = list[tuple[str, str]]


async def followed(path: str, seen: str) -> tuple[str, str]:
    """What was seen, and a step after it."""
    return seen, await sync_step(path, f"after:{seen.split()[0]}", 0)


@workflow()
async def first_completed(path: str, seconds: float) -> Seen:
    """Go on with each as soon as it has come."""
    tasks = {asyncio.create_task(step(path, f"{n}", seconds)) for n in range(6)}
    seen: Seen = []
    while tasks:
        done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        seen += [await followed(path, said) for said in sorted(task.result() for task in done)]
    return seen


@workflow()
async def as_completed(path: str, seconds: float) -> Seen:
    """The same with `asyncio.as_completed`."""
    calls = [step(path, f"{n}", seconds) for n in range(6)]
    return [await followed(path, await each) for each in asyncio.as_completed(calls)]


@workflow()
async def sets_of_tasks(path: str, seconds: float) -> Seen:
    """What has asked, and what it was told, where Python makes sets of tasks or of coroutines."""

    async def asks(name: str) -> tuple[str, str]:
        return name, (await step(path, name, seconds)).split()[0]

    done, _ = await asyncio.wait([asyncio.create_task(asks(f"{n}")) for n in range(8)])
    again = [await asks(f"{task.result()[0]}/again") for task in done]
    calls = [asks(f"{n}/as_completed") for n in range(8)]
    return [*again, *[await each for each in asyncio.as_completed(calls)]]


@workflow()
async def abandons(path: str, seconds: float) -> list[str]:
    """End while a task goes on with its steps."""
    going_on = asyncio.create_task(chain(path, 0, [step] * 100, seconds))
    ended = [await step(path, "1", seconds) for _ in range(3)]
    assert not going_on.done()
    return ended


@workflow()
async def grouped(path: str, seconds: float) -> Seen:
    """Tasks that start tasks."""
    seen: Seen = []

    async def work(depth: int, name: str) -> None:
        seen.append(await followed(path, await step(path, f"{name}/{len(seen)}", seconds)))
        if depth:
            group.create_task(work(depth - 1, f"{name}.0"))
            group.create_task(work(depth - 1, f"{name}.1"))

    async with asyncio.TaskGroup() as group:
        group.create_task(work(2, "0"))
        group.create_task(work(2, "1"))
    return seen


@workflow()
async def timed_out(path: str, seconds: float) -> Seen:
    """Ask again what has taken too long, beside others."""

    async def patient(name: str) -> list[tuple[str, str]]:
        try:
            said = await asyncio.wait_for(step(path, name, seconds), seconds / 2)
        except TimeoutError:
            said = await step(path, f"{name}/again", seconds)
        return [await followed(path, said)]

    return [each for seen in await asyncio.gather(*map(patient, "abcdef")) for each in seen]
