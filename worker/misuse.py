"""What people write by mistake around `@workflow()`, and the sentence that tells them so."""

import difflib
import functools
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dbos import DBOS

from . import places
from .errors import BadDeclaration, DuplicateWorkflow

OWN = ("queue", "name", "signals")
"""The options that are this project's; all others are those of `DBOS.workflow`."""

VALUES = (dict, list, set, str, tuple)
"""What describes a type in other places, and is none itself."""


def refuse(problem: str | None) -> None:
    """Raise BadDeclaration with the user's line that is being executed, if there is a problem."""
    if problem:
        raise BadDeclaration(place=places.of_call(), problem=problem)


def misuse(
    misplaced: tuple[object, ...], queue: object, name: object, signals: object, options: Any
) -> str | None:
    """What is wrong with the arguments of `workflow`."""
    if misplaced and callable(misplaced[0]):
        return "needs parentheses: @workflow()"
    if misplaced:
        return f"takes named options only, as in @workflow(queue={misplaced[0]!r})"
    if not isinstance(queue, str):
        return "needs the name of a queue, as in queue='task_queue'"
    if name is not None and not is_segment(name):
        return f"cannot publish the name {name!r}: it has 1 to 255 characters and no slash"
    if signals is not None and not _is_signals(signals):
        return "needs the type of each signal by its topic, as in signals={'payment': Payment}"
    return next(_unknown(options), None)


def unfit(function: object) -> str | None:
    """Why something cannot be a workflow, whatever its options are."""
    if not inspect.isfunction(function):
        kind = "class" if inspect.isclass(function) else type(function).__name__
        return f"decorates a function, and this is a {kind}"
    if function.__name__ == "<lambda>":
        return "decorates a function that def has given a name, and this is a lambda"
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        return (
            f"decorates a function that returns its result, and {function.__name__} yields; "
            "DBOS.write_stream tells values on the way"
        )
    return None


def is_segment(text: object) -> bool:
    """Whether something can be one part of a path."""
    if not isinstance(text, str) or text.strip() in ("", ".", ".."):
        return False
    return re.fullmatch(r"[^/\0]{1,255}", text) is not None


def _is_signals(signals: object) -> bool:
    return isinstance(signals, Mapping) and all(
        isinstance(topic, str) and not isinstance(hint, VALUES) for topic, hint in signals.items()
    )


def _unknown(options: Mapping[str, object]) -> Iterator[str]:
    known = list(dict.fromkeys([*OWN, *inspect.signature(DBOS.workflow).parameters]))
    for option in options:
        if option not in known:
            close = difflib.get_close_matches(option, known, n=1)
            meant = f"did you mean {close[0]}?" if close else f"it knows {', '.join(known)}"
            yield f"has no option {option!r}; {meant}"


def one_of_a_name(register: Callable[..., None]) -> Callable[..., None]:
    """Make of `register_wf_function` one that raises DuplicateWorkflow for a name that is taken.

    Steps may have the names of others: DBOS registers each as a workflow `<temp>.name`.
    """

    @functools.wraps(register)
    def register_once(registry: Any, name: str, workflow: Callable[..., Any]) -> None:
        other = registry.workflow_info_map.get(name)
        if other and not name.startswith("<temp>."):
            first, second = (inspect.unwrap(each) for each in (other, workflow))
            if first is second:
                refuse("already is @DBOS.workflow(): leave that decorator out")
            raise DuplicateWorkflow(
                name=name, first=places.of_function(first), second=places.of_function(second)
            )
        register(registry, name, workflow)

    return register_once
