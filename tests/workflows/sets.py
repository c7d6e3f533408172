"""Workflows that depend on the hashes of texts."""

import time
import uuid
from pathlib import Path

from dbos import DBOS

from worker import workflow

from .ledger import write


@DBOS.step(name="ordered")
def ordered(count: int) -> set[str]:
    return {f"sku-{number}" for number in range(count)}


def charge(path: str, execution: str, sku: str, waits: bool) -> str:
    number = int(sku.removeprefix("sku-"))
    write(path, "begin", execution, number)
    while waits and not Path(f"{path}.hurry").exists():
        time.sleep(0.05)
    write(path, "end", execution, number)
    return sku


@workflow()
def charges(path: str, step: str, count: int) -> list[str]:
    """Charge each member of a set in a step of its own.

    Half of them wait for a file that tells them to hurry.
    """
    execution = uuid.uuid4().hex
    return [
        DBOS.run_step({"name": step.format(sku)}, charge, path, execution, sku, 2 * place >= count)
        for place, sku in enumerate(ordered(count))
    ]


@workflow()
def hashed(text: str) -> str:
    """What Python makes of a text, in decimal digits."""
    return str(hash(text))
