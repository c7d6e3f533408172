"""A report: child workflows on a queue of their own write its lines; progress and a stream."""

import time
from typing import Annotated

from dbos import DBOS
from pydantic import Field
from typing_extensions import TypedDict

from worker import workflow


class Report(TypedDict):
    """A finished report."""

    title: str
    lines: list[str]


@DBOS.step(name="research")
def research(title: str, number: int) -> str:
    """Stands for the slow part: a query, a model, a crawl."""
    time.sleep(1)
    return f"{number}. What there is to say about {title}"


@DBOS.workflow(name="write_line")
def write_line(title: str, number: int) -> str:
    """Private: only reports start it."""
    return research(title, number)


@workflow()
def report(
    title: Annotated[str, Field(max_length=200)] = "durability",
    length: Annotated[int, Field(ge=1, le=1000)] = 20,
) -> Report:
    """Write a report of `length` lines, a few at the same time, streamed as `lines`."""
    writers = [
        DBOS.enqueue_workflow("report_queue", write_line, title, number)
        for number in range(1, length + 1)
    ]
    lines = []
    for done, writer in enumerate(writers, start=1):
        line = writer.get_result(polling_interval_sec=0.2)
        lines.append(line)
        DBOS.write_stream("lines", line)
        DBOS.set_event("progress", {"done": done, "total": length, "message": line})
    DBOS.close_stream("lines")
    return {"title": title, "lines": lines}
