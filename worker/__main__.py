"""`python -m worker`: execute workflows until SIGTERM or SIGINT, drain, exit 0."""

import logging
import os
import signal
import sys

from dbos import DBOS

from . import catalog, queues, workflows
from .declarations import find_workflows
from .errors import WorkerError
from .lifecycle import drain, is_latest_version, launch, stop_signals
from .settings import Settings

logger = logging.getLogger("worker")


def main() -> None:
    """Run one worker from its start to its drain."""
    settings = Settings.from_env(os.environ)
    entries = find_workflows(workflows)
    with stop_signals(signal.SIGTERM, signal.SIGINT) as stop:
        launch(settings)
        queues.register(settings.polling_interval)
        if is_latest_version():
            catalog.publish(
                entries,
                database_url=settings.database_url,
                application=settings.app_name,
                version=settings.app_version,
            )
        DBOS.logger.setLevel(logging.INFO)
        logger.info(
            "executor %s of %s, version %s, executes %s",
            settings.executor_id,
            settings.app_name,
            settings.app_version,
            ", ".join(entry.name for entry in entries),
        )
        stop.wait()
        drain(settings.drain_timeout)


def configure_logging() -> None:
    """One format for every logger; without a handler of its own DBOS would add another."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("dbos").addHandler(logging.NullHandler())


if __name__ == "__main__":
    configure_logging()
    try:
        main()
    except WorkerError as error:
        sys.exit(f"worker: {error}")
