"""The queues and their limits. Add one here, then name it in `@workflow(queue=...)`."""

from dataclasses import dataclass
from typing import TypedDict

from dbos import DBOS


class RateLimit(TypedDict):
    """At most `limit` starts in any `period` seconds, over the whole fleet."""

    limit: int
    period: float


@dataclass(frozen=True)
class Queue:
    """One queue; a limit that is not given does not apply."""

    name: str
    worker_concurrency: int | None = None
    """How many of its workflows run at the same time in one worker."""
    global_concurrency: int | None = None
    """How many of its workflows run at the same time in the whole fleet."""
    rate_limit: RateLimit | None = None
    partition_concurrency: int | None = None
    """The same as `global_concurrency` for each partition: what is launched with the same
    `partition_key`. With any limit of partitions, every launch has to have a key."""
    partition_worker_concurrency: int | None = None
    partition_rate_limit: RateLimit | None = None

    @property
    def partitioned(self) -> bool:
        """Whether each launch has to name its partition."""
        limits = (
            self.partition_concurrency,
            self.partition_worker_concurrency,
            self.partition_rate_limit,
        )
        return any(limit is not None for limit in limits)


TASKS = Queue("task_queue", worker_concurrency=50)
"""The default."""

ORDERS = Queue("order_queue", worker_concurrency=1000)
"""Orders wait for people. In the default queue, fifty that wait would let nothing else run."""

REPORTS = Queue("report_queue", global_concurrency=2, rate_limit={"limit": 100, "period": 1.0})
"""The lines of all reports: few at a time, wherever there are workers."""

INTERNAL = "_dbos_internal_queue"
"""DBOS's own, for what was in no queue before."""

QUEUES = (TASKS, ORDERS, REPORTS)


def names_of_queues() -> str:
    """The names of all that are declared, for messages."""
    return ", ".join(queue.name for queue in QUEUES)


def register(polling_interval: float) -> None:
    """Store the queues in Postgres, each polled every `polling_interval` seconds."""
    for queue in QUEUES:
        per_partition = queue.partition_rate_limit
        DBOS.register_queue(
            queue.name,
            worker_concurrency=queue.worker_concurrency,
            global_concurrency=queue.global_concurrency,
            limiter={**queue.rate_limit} if queue.rate_limit else None,
            partition_concurrency=queue.partition_concurrency,
            partition_worker_concurrency=queue.partition_worker_concurrency,
            partition_limiter={**per_partition} if per_partition else None,
            polling_interval_sec=polling_interval,
        )
