"""What callers get of a stored error: its message only if its worker has marked it as public.

Without the mark, also in rows of other languages and of releases before, they get the name and a
reference, under which the log of the worker has the rest.
"""

import re
from typing import Any

NAME = re.compile(r"[^\W\d][\w.$]{0,99}")
"""The name of a class in any language. Code can give an error any name; what is longer than 100
characters, or holds anything else, may be a message."""

UNNAMED = "Error"

MOST_MESSAGE_CHARACTERS = 10_000
"""The longest message that is shown: much more than people read, and an answer stays small."""

MOST_NUMBER = 2**31 - 1
"""The numbers of steps and attempts are integers of Postgres."""


def failure(record: Any, workflow_id: str, step: int | None = None) -> dict[str, Any]:
    """The error of a workflow, or of one of its steps, as callers get it.

    After a step that was retried in vain it has `attempts`, and the last one's `cause`.
    """
    reference = referred(workflow_id, step if step is not None else failed_step(record))
    attempts, cause = _number(record, "attempts"), _member(record, "cause")
    if attempts is None or not isinstance(cause, dict):
        return _shown(record, reference)
    return _shown(record, reference) | {"attempts": attempts, "cause": _shown(cause, reference)}


def failed_step(record: Any) -> int | None:
    """The number of the step that has raised the error of its workflow, if one has."""
    return _number(record, "step")


def referred(workflow_id: str, step: int | None) -> str:
    """The reference of a step, or of the code between the steps."""
    return workflow_id if step is None else f"{workflow_id}/{step}"


def _shown(record: Any, reference: str) -> dict[str, Any]:
    name, message = _member(record, "name"), _member(record, "message")
    named = name if isinstance(name, str) and NAME.fullmatch(name) else UNNAMED
    if _member(record, "public") is True and isinstance(message, str):
        return {"name": named, "message": _shortened(message)}
    hidden = f"The log of its worker has the reason, under the reference {reference!r}."
    return {"name": named, "message": hidden, "reference": reference}


def _shortened(message: str) -> str:
    if len(message) <= MOST_MESSAGE_CHARACTERS:
        return message
    return f"{message[:MOST_MESSAGE_CHARACTERS]}..."


def _number(record: Any, member: str) -> int | None:
    number = _member(record, member)
    return number if type(number) is int and 0 < number <= MOST_NUMBER else None


def _member(record: Any, member: str) -> Any:
    return record.get(member) if isinstance(record, dict) else None
