"""Start DBOS, wait for a signal to stop, drain."""

import logging
import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from dbos import DBOS, DBOSPortableJSONSerializer

from .errors import DatabaseUnreachable
from .outcomes import store_only_portable_json
from .settings import Settings

CONNECTIONS = 10
"""DBOS's pool. With the catalog's and the migration's, a worker needs about 12 connections."""

logger = logging.getLogger("worker")


def launch(settings: Settings) -> None:
    """Migrate the database, recover this executor's workflows and start to execute.

    Raises DatabaseUnreachable.
    """
    check_database(settings.database_url)
    store_only_portable_json()
    threading.excepthook = _end_with_event_loop
    DBOS(
        config={
            "name": settings.app_name,
            "system_database_url": settings.database_url,
            "sys_db_pool_size": CONNECTIONS,
            "application_version": settings.app_version,
            "executor_id": settings.executor_id,
            "serializer": DBOSPortableJSONSerializer(),
            "log_level": "WARNING",  # A first start would log every migration and queue.
        }
    )
    DBOS.launch()


def _end_with_event_loop(args: threading.ExceptHookArgs) -> None:
    """End the worker when DBOS's event loop ends, as `sys.exit()` in an asyncio task makes it.

    A worker without it looks alive but executes nothing; one that is started again does.
    """
    threading.__excepthook__(args)
    if args.thread and "_run_event_loop" in args.thread.name:
        logger.critical("the event loop of DBOS has ended, and so does the worker")
        os._exit(1)


def check_database(url: str) -> None:
    """Raise DatabaseUnreachable, one sentence where DBOS would print a traceback."""
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.OperationalError as error:
        if re.search('database ".*" does not exist', str(error)):
            return  # DBOS creates it.
        raise DatabaseUnreachable(reason=str(error).strip()) from error


def is_latest_version() -> bool:
    """Whether no newer version of the application has started; what is new goes to the newest."""
    return DBOS.get_latest_application_version()["version_name"] == DBOS.application_version


@contextmanager
def stop_signals(*numbers: signal.Signals) -> Iterator[threading.Event]:
    """An event that the signals set."""
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def drain(timeout: float) -> None:
    """Stop dequeuing and let running workflows finish, for at most `timeout` seconds.

    What is still running then stays PENDING and continues from its last step when a worker
    with this executor id starts. The process ends there and then: workflows that went on
    while DBOS shuts down could fail on it and be recorded as failed.
    """
    logger.info("draining: running workflows have %g s to finish", timeout)
    deadline = threading.Timer(timeout, os._exit, [0])
    deadline.daemon = True
    deadline.start()
    DBOS.destroy(workflow_completion_timeout_sec=int(timeout) + 60)
