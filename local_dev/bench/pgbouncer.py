"""PgBouncer, by default in transaction mode, as serverless platforms need it."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg

from .processes import free_port, run
from .proxy import behind

CONFIGURATION = """
[databases]
* = host={host} user=postgres

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = {size}
"""


def installed() -> str | None:
    """The path of the program, if there is one."""
    return shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")


@contextmanager
def pgbouncer(
    program: str, database: str, *, size: int, mode: str = "transaction"
) -> Iterator[str]:
    """The URL of a database through a PgBouncer with `size` connections to the server."""
    host, port = Path(parse_qs(urlsplit(database).query)["host"][0]), free_port()
    file = host.parent / f"pgbouncer-{port}.ini"
    file.write_text(CONFIGURATION.format(host=host, port=port, mode=mode, size=size))
    # It refuses to run as root, and has to reach the server's socket.
    user = ["-u", host.owner()] if os.geteuid() == 0 else []
    url = behind(port, database)
    try:
        with run(program, *user, str(file), cwd=host.parent, environ={}) as process:
            process.wait_until(lambda: connects(url))
            yield url
    finally:
        file.unlink()


def connects(url: str) -> bool:
    """Whether there is somebody to talk to."""
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True
