"""A program: what two workflows catch in their first execution, and in a replay of it.

Its arguments are a SQLite URL, `json` or `pickle`, and which replacements are made.
"""

import json
import sys
from typing import Any

from dbos import DBOS, DBOSPortableJSONSerializer
from dbos._serialization import DefaultSerializer

from tests.workflows.failures import caught, caught_async, child, fails, fails_async
from worker import internals

FAILURES = (2, 9)
"""What cannot be kept as it is, and what cannot be found."""


@DBOS.workflow(name="catches")
def catches(number: int) -> str:
    """What is caught of a step, a child, and a child that was started."""
    ways = [
        caught(lambda: fails(number)),
        caught(lambda: child(number)),
        caught(lambda: DBOS.start_workflow(child, number).get_result()),
    ]
    return json.dumps(ways)


@DBOS.workflow(name="catches_async")
async def catches_async(number: int) -> str:
    """What is caught of an async step."""
    return json.dumps([await caught_async(lambda: fails_async(number))])


def main(url: str, serializer: str, *replacements: str) -> None:
    """Print what is caught as JSON."""
    for name in replacements:
        getattr(internals, name)()
    serializers = {"json": DBOSPortableJSONSerializer, "pickle": DefaultSerializer}
    DBOS(
        config={
            "name": "caught",
            "system_database_url": url,
            "serializer": serializers[serializer](),
            "log_level": "CRITICAL",
        }
    )
    DBOS.launch()
    try:
        sys.stdout.write(json.dumps(executed()))
    finally:
        DBOS.destroy()


def executed() -> dict[str, Any]:
    """What is caught of failures at first, in a replay, and outside of workflows."""
    workflows: list[Any] = [catches, catches_async]
    handles = [DBOS.start_workflow(each, number) for each in workflows for number in FAILURES]
    first = [json.loads(handle.get_result()) for handle in handles]
    forks = [DBOS.fork_workflow(handle.workflow_id, 1000) for handle in handles]
    later = [json.loads(fork.get_result(polling_interval_sec=0.05)) for fork in forks]
    outside = [caught(DBOS.start_workflow(child, number).get_result) for number in FAILURES]
    return {"first": first, "later": later, "outside": outside}


if __name__ == "__main__":
    main(*sys.argv[1:])
