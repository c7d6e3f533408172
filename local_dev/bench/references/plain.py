"""`python -m local_dev.bench.references.plain`: a DBOS worker without the project's additions."""

import json
import os
import sys
import threading

from dbos import DBOS


@DBOS.step(name="generate_greeting")
def generate_greeting(name: str) -> str:
    """The one step."""
    return f"Hello, {name}!"


@DBOS.workflow(name="greeting")
def greeting(name: str = "World") -> str:
    """The guide's workflow."""
    return generate_greeting(name)


def main() -> None:
    """Execute until it is killed; the queues have the same limits as the project's."""
    DBOS(
        config={
            "name": "dbos-functions",
            "system_database_url": os.environ["DBOS_SYSTEM_DATABASE_URL"],
            "application_version": "1",
        }
    )
    DBOS.launch()
    for limits in json.loads(os.environ["QUEUES"]):
        DBOS.register_queue(**limits)
    sys.stdout.write("ready to execute\n")
    sys.stdout.flush()
    threading.Event().wait()


if __name__ == "__main__":
    main()
