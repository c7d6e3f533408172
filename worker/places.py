"""Places in the user's own files, for messages: what declares, calls or fails there."""

import inspect
import os
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import CodeType
from typing import Any

from .options import UNLOADABLE

ENGINE = Path(__file__).parent

ROOT = ENGINE.parent
"""Files below it are told as whoever works on the project knows them."""

USERS = (f"{ENGINE / 'workflows'}{os.sep}", str(ENGINE / "queues.py"))

OTHERS = (
    f"{ENGINE}{os.sep}",
    *(
        f"{sysconfig.get_path(name)}{os.sep}"
        for name in ("stdlib", "platstdlib", "purelib", "platlib")
    ),
)
"""The engine, Python and all that is installed."""


def of_function(function: Callable[..., Any]) -> str:
    """Where a function begins, with its decorators."""
    code: CodeType = inspect.unwrap(function).__code__
    return _place(code.co_filename, code.co_firstlineno)


def of_call() -> str | None:
    """The line of the user's that is being executed, if there is one on this stack."""
    frame = sys._getframe(1)
    while frame and not _is_users(frame.f_code.co_filename):
        if frame.f_back is None:
            return None
        frame = frame.f_back
    return _place(frame.f_code.co_filename, frame.f_lineno)


def of_error(error: BaseException) -> str | None:
    """The innermost line of the user's that an error has come through, or that does not parse."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return _place(error.filename, error.lineno)
    place, traceback = None, error.__traceback__
    while traceback:
        filename = traceback.tb_frame.f_code.co_filename
        if _is_users(filename):
            place = _place(filename, traceback.tb_lineno)
        traceback = traceback.tb_next
    return place


def tell_error(kind: type[BaseException], error: BaseException, traceback: Any) -> None:
    """A `sys.excepthook` that tells an error of the user's code in one line, and ends the process
    with the exit code of code that cannot be loaded."""
    if place := of_error(error):
        sys.stderr.write(f"worker: {place}: {kind.__name__}: {said(error)}\n")
        sys.exit(UNLOADABLE)
    sys.__excepthook__(kind, error, traceback)


def said(error: BaseException) -> str:
    """The first line of what an error says, without the place, which stands beside it."""
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return next(iter(text.splitlines()), "")


def _is_users(filename: str) -> bool:
    if filename.startswith("<"):  # Python's frozen modules, and what was compiled from a string.
        return False
    return filename.startswith(USERS) or not filename.startswith(OTHERS)


def _place(filename: str, line: int) -> str:
    path = Path(filename)
    known = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    return f"{known.as_posix()}:{line}"
