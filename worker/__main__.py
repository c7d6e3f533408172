"""`python -m worker`: execute workflows until SIGTERM or SIGINT, drain, exit 0."""

import sys

from . import hash_seed, places
from .options import parse_options

if __name__ == "__main__":
    sys.excepthook = places.tell_error  # Of worker/queues.py, which is the user's, too.
    if parse_options().command != "migrate":
        hash_seed.share_early()  # Before all else is imported, since it is imported again then.

import argparse
import logging
import os
import signal

from dbos import DBOS

from . import internals, queues, workflows
from .adopt import Adopted, adopt
from .cancellations import Cancellations
from .catalog import Entry
from .database import check_database
from .declarations import find_workflows
from .errors import EXPECTED, UnloadableWorkflows, sentence
from .executor import Executor
from .health import Health, serve_health
from .held import Held, try_again
from .idle import wait_until_idle
from .lease import Duty, Lease
from .lifecycle import drain, end, exit_signals, handed_over_on_failure, stop_signals, wait
from .logs import configure_logging
from .metrics import Metrics
from .migrate import check_migrated, migrate, read_hash_seed
from .orphans import Orphans
from .ownership import Ownership
from .pulse import Pulse
from .retention import keep_deleting
from .settings import Settings
from .signs import signs
from .sources import warn_of_changes
from .takeover import TakeOver
from .tracing import export_traces
from .versions import Leadership
from .waits import Waits

SIGNALS = (signal.SIGTERM, signal.SIGINT)

logger = logging.getLogger("worker")


def main() -> None:
    """Do what the command line says, with the settings of the environment."""
    options = parse_options()
    internals.never_pickle()  # Before anything is read, whatever the command.
    internals.refuse_a_name_twice()  # Before the workflows are imported.
    settings = Settings.from_env(os.environ)
    check_database(settings.database_url)
    if options.command == "migrate":
        migrate(
            settings.database_url,
            worker_role=options.worker_role,
            functions_role=options.functions_role,
        )
    elif options.command == "adopt":
        share_hash_seed(settings)
        find_workflows(workflows)
        report(adopt(settings, options.version, do=options.yes), options, settings)
        end()  # Code that was replayed may still be running.
    else:
        work(settings, until_idle=options.until_idle)


def work(settings: Settings, *, until_idle: bool) -> None:
    """Run one worker from its start to its end."""
    entries = load_workflows()
    with exit_signals(*SIGNALS):
        if settings.migrate:
            migrate(settings.database_url)
        else:
            check_migrated(settings.database_url)
        share_hash_seed(settings)
        leadership = Leadership(settings, entries)
        leadership.check()
        warn_of_changes(settings, entries)
        lease = Lease(settings)
        lease.take()
        take_over = TakeOver(settings, lambda: lease.taking_seconds)
        take_over.own()
        flush = export_traces(settings)
        clock = lease.clock
        executor = Executor(settings, lambda: lease.held and clock.is_right, clock)
        internals.begin_steps_only_as_owner(Ownership(lease))
        Pulse(settings, executor).start()
        waits = Waits(settings, executor.pool.engine)
        internals.know_what_waits(waits)
        cancellations = Cancellations(executor.pool.engine)
        internals.end_waits_of_lost_runs(cancellations)
        cancellations.start()
        held = Held(settings)
        if settings.health_port:
            metrics = Metrics(settings, executor, lease, take_over)
            serve_health(settings.health_port, Health(executor, lease, held), metrics)
        with (
            stop_signals(*SIGNALS, twice=True) as stop,
            handed_over_on_failure(executor, settings),
        ):
            duties: list[Duty] = [waits, take_over, Orphans(settings, executor), leadership, held]
            duties += signs(settings, clock, executor)
            lease.keep(duties, on_silence=executor.pool.cut)
            executor.launch()
            queues.register(settings.polling_interval)
            leadership.start()
            try_again(settings)
            if settings.retention_days:
                keep_deleting(settings, executor, settings.retention_days)
            say_ready(settings, entries)
            if until_idle:
                wait_until_idle(stop, settings, executor, take_over)
            else:
                wait(stop)
            drain(executor, settings, flush)
        end()


def load_workflows() -> list[Entry]:
    """Find what this worker executes; raises UnloadableWorkflows."""
    try:
        return find_workflows(workflows)
    except EXPECTED as error:
        raise UnloadableWorkflows(reason=sentence(error)) from error


def share_hash_seed(settings: Settings) -> None:
    """Start again with the seed of the database, if it could not be read before."""
    if not hash_seed.is_settled():
        hash_seed.start_again(read_hash_seed(settings.database_url))


def say_ready(settings: Settings, entries: list[Entry]) -> None:
    """Log who executes what, and from now on what DBOS and workflows have to say."""
    DBOS.logger.setLevel(logging.INFO)
    logger.info(
        "executor %s of %s, version %s, executes %s",
        settings.executor_id,
        settings.app_name,
        settings.app_version,
        ", ".join(entry.name for entry in entries),
    )


def report(adopted: list[Adopted], options: argparse.Namespace, settings: Settings) -> None:
    """Say what `adopt` has done, or would do."""
    staying = [each for each in adopted if each.stays]
    for each in adopted:
        reason = f" stays: {each.stays}" if each.stays else ""
        sys.stdout.write(f"{each.workflow_id} {each.name} {each.status}{reason}\n")
    moved = "moved" if options.yes else "that --yes would move"
    versions = f"of version {options.version} {moved} to version {settings.app_version}"
    sys.stdout.write(f"workflows {versions}: {len(adopted) - len(staying)}\n")
    if staying:
        would = "stay" if options.yes else "would stay"
        sys.stdout.write(f"workflows that do not replay, and {would}: {len(staying)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.excepthook = sys.__excepthook__
    configure_logging()
    try:
        main()
    except EXPECTED as error:
        sys.stderr.write(f"worker: {sentence(error)}\n")
        sys.exit(getattr(error, "exit_code", 1))
