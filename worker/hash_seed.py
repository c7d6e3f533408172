"""The seed of Python's hashes, which all workers of an application share.

Python salts the hashes of text with another seed in each process, and the order of a set depends
on them. With one seed for all, a workflow goes through a set in the same order wherever it is
executed. The seed is a secret of the workers: who knows it can make texts whose hashes collide.

Python takes the seed from its environment when it starts. So a worker that was given none starts
again in its own process, as soon as it has read the seed, and before it imports what takes long.
"""

import os
import sys
from contextlib import suppress
from threading import Thread
from typing import NoReturn

import psycopg

VARIABLE = "PYTHONHASHSEED"

READ = "select seed from catalog.hash_seed"

READ_SECONDS = 5.0
"""How long the first attempt to read the seed may take. Another one follows, which says what is
wrong, when it is known that the database can be reached and has its tables."""


def is_settled() -> bool:
    """Whether this process has its seed, or shall have none, or would not take one (`-E`)."""
    return bool(os.environ.get(VARIABLE)) or bool(sys.flags.ignore_environment)


def share_early() -> None:
    """Start again with the seed, if there is one in the database that can be read at once."""
    url = os.environ.get("DBOS_SYSTEM_DATABASE_URL")
    if url and not is_settled() and (seed := _read_in_time(url)):
        start_again(seed)


def start_again(seed: int) -> NoReturn:
    """Execute the command of this process again, with the seed; what is held is lost."""
    command = [sys.executable, *sys.orig_argv[1:]]
    os.execve(sys.executable, command, {**os.environ, VARIABLE: str(seed)})


def _read_in_time(url: str) -> int | None:
    found: list[int] = []
    # A thread that can be left: psycopg would wait for ever for a server that has frozen.
    reader = Thread(target=_read, args=(url, found), daemon=True)
    reader.start()
    reader.join(READ_SECONDS)
    return next(iter(found), None)


def _read(url: str, found: list[int]) -> None:
    name = "dbos-functions hash seed"
    with (
        suppress(Exception),  # It is told later, in one sentence.
        psycopg.connect(url, autocommit=True, connect_timeout=2, application_name=name) as session,
    ):
        found.extend(seed for (seed,) in session.execute(READ))
