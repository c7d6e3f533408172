"""`python -m worker`: execute workflows until SIGTERM or SIGINT, drain, exit 0."""

import argparse
import logging
import os
import signal
import sys

import psycopg
from dbos import DBOS
from dbos import error as dbos_error

from . import queues, workflows
from .adopt import Adopted, adopt
from .database import check_database
from .declarations import find_workflows
from .errors import WorkerError
from .executor import Executor
from .health import Health, serve_health
from .idle import wait_until_idle
from .lease import Duty, Lease
from .lifecycle import drain, end, stop_signals, wait
from .logs import configure_logging
from .metrics import Metrics
from .migrate import check_migrated, migrate
from .orphans import Orphans
from .retention import keep_deleting
from .settings import Settings
from .takeover import TakeOver
from .tracing import traces
from .versions import Leadership

logger = logging.getLogger("worker")


def main() -> None:
    """Do what the command line says, with the settings of the environment."""
    options = parse_options()
    settings = Settings.from_env(os.environ)
    check_database(settings.database_url)
    if options.command == "migrate":
        migrate(
            settings.database_url,
            worker_role=options.worker_role,
            functions_role=options.functions_role,
        )
    elif options.command == "adopt":
        report(adopt(settings, options.version, do=options.yes), options)
    else:
        work(settings, until_idle=options.until_idle)
        end()


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m worker", description="Execute workflows.")
    parser.add_argument(
        "--until-idle", action="store_true", help="exit when there is nothing left to do"
    )
    commands = parser.add_subparsers(dest="command", title="commands")
    migrating = commands.add_parser("migrate", help="create what workers and functions need")
    migrating.add_argument("--worker-role", help="grant this role what a worker needs")
    migrating.add_argument("--functions-role", help="grant this role what the functions need")
    adopting = commands.add_parser(
        "adopt", help="move the unfinished workflows of a version without workers to APP_VERSION"
    )
    adopting.add_argument("version", help="the version that nobody runs any more")
    adopting.add_argument("--yes", action="store_true", help="do it; without it, only list them")
    return parser.parse_args()


def work(settings: Settings, *, until_idle: bool) -> None:
    """Run one worker from its start to its drain."""
    entries = find_workflows(workflows)
    with stop_signals(signal.SIGTERM, signal.SIGINT, twice=True) as stop, traces(settings):
        if settings.migrate:
            migrate(settings.database_url)
        else:
            check_migrated(settings.database_url)
        lease = Lease(settings)
        lease.take()
        take_over = TakeOver(settings)
        take_over.own()
        executor = Executor(settings, may_take=lambda: lease.held)
        leadership = Leadership(settings, entries)
        duties: list[Duty] = [take_over, Orphans(settings, executor), leadership]
        lease.keep(duties, on_silence=executor.pool.cut)
        executor.launch()
        queues.register(settings.polling_interval)
        leadership.start()
        if settings.retention_days:
            keep_deleting(settings, settings.retention_days)
        if settings.health_port:
            health = Health(executor, lease, settings.polling_interval)
            serve_health(
                settings.health_port, health, Metrics(settings, executor, lease, take_over)
            )
        DBOS.logger.setLevel(logging.INFO)
        logger.info(
            "executor %s of %s, version %s, executes %s",
            settings.executor_id,
            settings.app_name,
            settings.app_version,
            ", ".join(entry.name for entry in entries),
        )
        if until_idle:
            wait_until_idle(stop, settings, executor, take_over)
        else:
            wait(stop)
        drain(executor, settings)


def report(adopted: list[Adopted], options: argparse.Namespace) -> None:
    """Say what `adopt` has done, or would do."""
    for each in adopted:
        sys.stdout.write(f"{each.workflow_id} {each.name} {each.status}\n")
    done = "moved" if options.yes else "that --yes would move"
    sys.stdout.write(f"workflows of version {options.version} {done}: {len(adopted)}\n")


if __name__ == "__main__":
    configure_logging()
    try:
        main()
    except (WorkerError, dbos_error.DBOSException, psycopg.OperationalError) as error:
        sys.exit(f"worker: {error}")
