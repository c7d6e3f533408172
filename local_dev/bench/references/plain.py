"""`python -m local_dev.bench.references.plain`: a DBOS worker without the project's additions."""

import os
import sys
import threading

from dbos import DBOS

from worker import queues


@DBOS.step(name="generate_greeting")
def generate_greeting(name: str) -> str:
    """The one step."""
    return f"Hello, {name}!"


@DBOS.workflow(name="greeting")
def greeting(name: str = "World") -> str:
    """The guide's workflow."""
    return generate_greeting(name)


def main() -> None:
    """Execute until it is killed; the queue has the same limits as the project's."""
    DBOS(
        config={
            "name": "dbos-functions",
            "system_database_url": os.environ["DBOS_SYSTEM_DATABASE_URL"],
            "application_version": "1",
        }
    )
    DBOS.launch()
    DBOS.register_queue(
        queues.TASKS.name,
        worker_concurrency=queues.TASKS.worker_concurrency,
        polling_interval_sec=0.1,
    )
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    threading.Event().wait()


if __name__ == "__main__":
    main()
