"""A PostgreSQL with a synchronous standby, as managed Postgres has it: what is committed is in
both, so nothing is lost when the standby takes over."""

import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg

from local_dev.bench.processes import wait_until
from local_dev.bench.proxy import Proxy
from local_dev.postgres import postgres

IN_STEP = "select from pg_stat_replication where sync_state = 'sync'"


class Pair:
    """The two servers, each at a TCP port of 127.0.0.1."""

    def __init__(self, data: Path, standby: Path, ports: tuple[int, int]) -> None:
        self.ports = ports
        self._data = data
        self._standby = standby

    def url(self, database: str) -> str:
        """Where a database is, in the form that libpq documents for several hosts."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        return f"postgresql://postgres@{hosts}/{database}"

    def lose_the_primary(self) -> None:
        """End it as a crash of its machine does."""
        _run("pg_ctl", "stop", "-m", "immediate", "-D", self._data, owner=self._data)

    def promote(self) -> None:
        """Let the standby take over."""
        _run("pg_ctl", "promote", "-w", "-D", self._standby, owner=self._data)


@contextmanager
def pair(directory: Path) -> Iterator[Pair]:
    """A primary and its standby, with their data in `directory`."""
    data, standby = directory / "primary", directory / "standby"
    with ExitStack() as stack:
        primary = stack.enter_context(postgres(data))
        socket = stack.enter_context(tempfile.TemporaryDirectory())  # Its path has to be short.
        shutil.chown(socket, data.stat().st_uid)
        _follow(primary, data, standby, socket)
        stack.callback(_run, "pg_ctl", "stop", "-m", "immediate", "-D", standby, owner=data)
        with psycopg.connect(primary, autocommit=True) as connection:
            connection.execute("alter system set synchronous_standby_names = 'standby'")
            connection.execute("select pg_reload_conf()")
            wait_until(lambda: connection.execute(IN_STEP).fetchone() is not None)
        networks = [
            stack.enter_context(Proxy(url))
            for url in (primary, f"postgresql://postgres@/postgres?host={socket}")
        ]
        one, other = (int(urlsplit(network.url).port or 0) for network in networks)
        yield Pair(data, standby, (one, other))


def _follow(primary: str, data: Path, standby: Path, socket: str) -> None:
    """Copy a primary, and start the copy as its standby."""
    standby.mkdir(mode=0o700)
    shutil.chown(standby, data.stat().st_uid)
    host = parse_qs(urlsplit(primary).query)["host"][0]
    source = f"host={host} user=postgres application_name=standby"
    _run("pg_basebackup", "-R", "-c", "fast", "-D", standby, "-d", source, owner=data)
    options = f'-h "" -k {socket}'
    log = standby / "log"
    _run("pg_ctl", "start", "-w", "-D", standby, "-o", options, "-l", log, owner=data)


def _run(program: str, *arguments: str | Path, owner: Path) -> None:
    """Run a program of the primary's PostgreSQL as the user that owns its data."""
    server = Path(shlex.split((owner / "postmaster.opts").read_text())[0])
    subprocess.run(
        [server.with_name(program), *arguments],
        check=True,
        stdout=subprocess.DEVNULL,
        user=owner.stat().st_uid,
    )
