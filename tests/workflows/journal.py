"""A workflow whose steps leave a trace outside of the database."""

import time
from pathlib import Path

from dbos import DBOS

from worker import workflow


@DBOS.step(name="write")
def write(path: str, number: int, seconds: float) -> int:
    with Path(path).open("a") as journal:
        journal.write(f"{number}\n")
    time.sleep(seconds)
    return number


@workflow()
def journal(path: str, steps: int, seconds: float) -> list[int]:
    """Write the number of each step to `path`; each takes some seconds."""
    return [write(path, number, seconds) for number in range(1, steps + 1)]
