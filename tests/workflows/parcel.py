"""Workflows whose code a test changes while they wait; each step leaves a line in a file."""

from pathlib import Path

from dbos import DBOS

from worker import workflow


def note(path: str, line: str) -> str:
    with Path(path).open("a") as journal:
        journal.write(f"{line}\n")
    return line


@DBOS.step(name="pack")
def pack(path: str) -> str:
    return note(path, "pack")


@DBOS.step(name="label")
def label(path: str) -> str:
    return note(path, "label")


@DBOS.step(name="insure")
def insure(path: str) -> str:
    return note(path, "insure")


@DBOS.step(name="deliver")
def deliver(path: str) -> str:
    return note(path, "deliver")


@DBOS.step(name="undo")
def undo(path: str) -> str:
    return note(path, "undo")


@workflow()
def parcel(path: str) -> list[str]:
    """Pack, label, wait for the signal `go`, deliver; undo all if anything fails."""
    try:
        done = [pack(path)]
        done += [label(path)]
        DBOS.recv("go", timeout_seconds=600)
        done += [deliver(path)]
    except Exception:
        undo(path)
        raise
    return done


@DBOS.step(name="pack_async")
async def pack_async(path: str) -> str:
    return note(path, "pack")


@DBOS.step(name="deliver_async")
async def deliver_async(path: str) -> str:
    return note(path, "deliver")


@workflow()
async def parcel_async(path: str) -> list[str]:
    """The same in coroutines, and undoing even what is not meant for handlers."""
    try:
        done = [await pack_async(path)]
        done += [await DBOS.run_step_async({"name": "label"}, note, path, "label")]
        await DBOS.recv_async("go", timeout_seconds=600)
        done += [await deliver_async(path)]
    except BaseException:
        await DBOS.run_step_async({"name": "undo"}, note, path, "undo")
        return ["undone"]
    return done
