"""Why a workflow is where it is: one sentence for people, a reason and facts for programs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from sqlalchemy import Row

from .answers import failure_body, rfc3339
from .failures import failed_step
from .tables import INTERNAL_QUEUE, Failure


class Explanation(NamedTuple):
    """Why; `reason` is one of those in REASONS."""

    reason: str
    sentence: str


REASONS = (
    "delayed",
    "queued",
    "concurrency_limit",
    "worker_concurrency_limit",
    "worker_threads_limit",
    "rate_limit",
    "no_queue",
    "no_partition_key",
    "no_live_worker",
    "no_live_worker_of_version",
    "clocks_wrong",
    "owner_dead",
    "running",
    "waiting_for_signal",
    "sleeping",
    "finished",
    "failed",
    "cancelled",
    "given_up",
    "code_changed",
)


@dataclass(frozen=True)
class Situation:
    """What Postgres knows: of the workflow, of its queue, and of the workers that are alive."""

    workflow: Row[Any]
    queue: Row[Any] | None
    workers: Sequence[Row[Any]]
    """Of each version how many are alive, and how many of these take nothing since their clock is
    wrong, or nothing that needs a thread; the version that leads is the first."""
    failure: Failure
    published: bool
    """Whether the catalog has a workflow of this name."""

    @cached_property
    def live(self) -> dict[str, int]:
        """The versions that have live workers, and how many."""
        return {each.version: each.workers for each in self.workers if each.workers}

    @property
    def version(self) -> str | None:
        """The only version whose workers may execute the workflow; None if there is none yet."""
        leading = self.workers[0].version if self.workers else None
        return self.workflow.application_version or leading

    def explain(self) -> Explanation:
        """The first reason that applies, and what its last worker was ended by."""
        reason, sentence = self._explain()
        return Explanation(reason, f"{sentence}{self._ended}")

    @property
    def _ended(self) -> str:
        """What is known of the end of its last worker."""
        workflow = self.workflow
        if workflow.ended_at is None:
            return ""
        place = f"after step {workflow.ended_step}"
        if workflow.ended_step_name is not None:
            place = f"in step {workflow.ended_step} ({workflow.ended_step_name})"
        held = "code held the GIL" if workflow.ended_certain else "code held the GIL perhaps"
        return f" Its last worker was ended at {_at(workflow.ended_at)}, because {held} {place}."

    def _explain(self) -> Explanation:
        workflow = self.workflow
        match workflow.status:
            case "DELAYED":
                return self._delayed()
            case "ENQUEUED":
                return (
                    self._held()
                    or self._no_worker()
                    or self._wrong_clock()
                    or self._blocked()
                    or self._no_thread()
                    or self._queued()
                )
            case "PENDING":
                return self._abandoned() or self._executing()
            case "SUCCESS":
                return Explanation("finished", f"It succeeded at {_at(workflow.completed_at)}.")
            case "ERROR":
                return self._failed()
            case "CANCELLED":
                at = _at(workflow.completed_at)
                return Explanation("cancelled", f"It was cancelled at {at}; it can be resumed.")
        return Explanation(
            "given_up",
            f"It was given up at {_at(workflow.completed_at)}, since its workers died each time "
            "they executed it; it can be resumed.",
        )

    def facts(self) -> dict[str, Any]:
        """What the explanation rests on; what does not apply is left out."""
        workflow, queue = self.workflow, self.queue
        found = {
            "queue": workflow.queue,
            "partition_key": workflow.partition_key,
            "ahead": workflow.ahead,
            "application_version": workflow.application_version,
            "live_workers": [{"version": v, "workers": n} for v, n in self.live.items()],
            "workers_with_wrong_clocks": sum(each.wrong_clocks for each in self.workers) or None,
            "delayed_until": rfc3339(workflow.delayed_until) if self._is("DELAYED") else None,
            "deadline": rfc3339(workflow.deadline),
            "attempts": workflow.attempts,
            "owner_alive": workflow.owner_alive,
            "step": self._step if self._is("PENDING") else workflow.held_at,
            "step_started_at": rfc3339(self._since) if self._is("PENDING") else None,
            "unfinished_children": workflow.unfinished_children,
            "gil_held_at": rfc3339(workflow.ended_at),
            "gil_held_in_step": workflow.ended_step,
            "recorded_step": workflow.recorded_step,
            "expected_step": workflow.expected_step,
            "tried_at": rfc3339(workflow.tried_at),
            "failed_step": self._failed_step if self._is("ERROR") else None,
            "failed_step_name": self.failure.step_name if self._is("ERROR") else None,
            "error": self._error if self._is("ERROR") else None,
        }
        if queue is not None and self._is("ENQUEUED"):
            found |= dict(queue._mapping)
        return {name: value for name, value in found.items() if value is not None}

    def _is(self, status: str) -> bool:
        return bool(self.workflow.status == status)

    @property
    def _step(self) -> int:
        """The number of the step that follows those that `steps` lists."""
        return int(self.workflow.recorded) + 1

    @property
    def _since(self) -> int | None:
        return max(
            filter(None, (self.workflow.step_completed_at, self.workflow.started_at)), default=None
        )

    @property
    def _failed_step(self) -> int | None:
        return failed_step(self.failure.error.value)

    @property
    def _error(self) -> dict[str, Any]:
        """What it failed with, as callers get it."""
        return failure_body(self.failure.error, self.workflow.workflow_id)

    def _failed(self) -> Explanation:
        error, sentence = self._error, f"It failed at {_at(self.workflow.completed_at)}"
        if self._failed_step is not None:
            sentence += f" in step {self._failed_step}"
            sentence += f" ({self.failure.step_name})" if self.failure.step_name else ""
        if "cause" in error:
            sentence += f", in the last of {error['attempts']} attempts"
            error = error["cause"]
        reason = f": {error['message'].removesuffix('.')}"
        if "reference" in error:
            reason = f"; its worker's log has the reason under the reference {error['reference']!r}"
        return Explanation("failed", f"{sentence}, with {error['name']}{reason}.")

    def _delayed(self) -> Explanation:
        sentence = f"It is delayed until {_at(self.workflow.delayed_until)}"
        if self.workflow.attempts > 1:
            sentence = "It waits to be tried apart from others, since its workers died"
        if not self.live:
            return Explanation("delayed", f"{sentence}; no worker is alive at the moment.")
        if all(map(self._clocks_are_wrong, self.live)):
            clocks = "nobody starts it then, since the clocks of all live workers are wrong"
            return Explanation("delayed", f"{sentence}; {clocks}.")
        return Explanation("delayed", f"{sentence}{self._unpublished}.")

    @property
    def _unpublished(self) -> str:
        if self.published or self.workflow.is_child:
            return ""
        return "; no worker has published a workflow of its name"

    def _held(self) -> Explanation | None:
        workflow = self.workflow
        if workflow.held is None:
            return None
        calls = _calls(workflow.expected_step)
        again = "when a worker of that version starts, then once a minute, and when it is resumed"
        if workflow.tried_at is None:
            again = "as soon as a worker takes it"
        return Explanation(
            workflow.held,
            f"Its code has changed: step {workflow.held_at} is recorded as "
            f"{workflow.recorded_step!r}, and the code of version {self.version!r} {calls}; "
            f"it is tried again {again}.",
        )

    def _no_worker(self) -> Explanation | None:
        if not self.live:
            return Explanation("no_live_worker", "No worker is alive.")
        if self.version in self.live:
            return None
        alive = " and ".join(map(repr, self.live))
        return Explanation(
            "no_live_worker_of_version",
            f"It waits for a worker of version {self.version!r}; those alive are of {alive}.",
        )

    def _wrong_clock(self) -> Explanation | None:
        if not self._clocks_are_wrong(self.version or ""):
            return None
        return Explanation(
            "clocks_wrong",
            f"It waits for a worker of version {self.version!r} whose clock is right; the clocks "
            "of those alive differ from that of Postgres, so they take nothing.",
        )

    def _clocks_are_wrong(self, version: str) -> bool:
        """Whether all live workers of a version take nothing, since their clocks are wrong."""
        return any(
            each.version == version and each.wrong_clocks >= each.workers for each in self.workers
        )

    def _blocked(self) -> Explanation | None:
        name, queue = self.workflow.queue, self.queue
        if name == INTERNAL_QUEUE:
            return None
        if queue is None:
            return Explanation("no_queue", f"No worker has declared the queue {name!r}.")
        if self.workflow.partition_key is None and queue.partitioned:
            return Explanation(
                "no_partition_key", f"The queue {name!r} is partitioned, and it has no key."
            )
        return _limit(name, queue, self.live[self.version or ""])

    def _no_thread(self) -> Explanation | None:
        """The limit of all live workers, of which async workflows know nothing: they are taken."""
        alive = [each for each in self.workers if each.version == self.version]
        if not all(each.without_threads >= each.workers for each in alive):
            return None
        return Explanation(
            "worker_threads_limit",
            "Every live worker executes as many sync workflows as it has threads for.",
        )

    def _queued(self) -> Explanation:
        ahead, name = self.workflow.ahead, self.workflow.queue
        sentence = f"It is the next in the queue {name!r}"
        if ahead:
            before = _are(ahead, "workflow", "workflows")
            sentence = f"{before} ahead of it in the queue {name!r}"
        return Explanation("queued", f"{sentence}{self._unpublished}.")

    def _abandoned(self) -> Explanation | None:
        if self.workflow.owner_alive:
            return None
        sentence = "The worker that was executing it is no longer alive"
        if not self.live:
            return Explanation("owner_dead", f"{sentence}, and neither is any other.")
        if self.version not in self.live:
            sentence += f", and neither is any other of version {self.version!r}"
            return Explanation("owner_dead", f"{sentence}.")
        return Explanation("owner_dead", f"{sentence}; another one is about to take it over.")

    def _executing(self) -> Explanation:
        workflow, since = self.workflow, _at(self._since)
        if workflow.step_name == "DBOS.sleep" and workflow.step_completed_at > workflow.now:
            until = _at(workflow.step_completed_at)
            return Explanation("sleeping", f"It sleeps until {until}.")
        if workflow.step_name == "DBOS.sleep" and workflow.step > 1 and not workflow.step_before:
            # `DBOS.recv`, like `DBOS.get_event`, records first until when it waits.
            return Explanation(
                "waiting_for_signal",
                f"It has been waiting for a signal, or an event of a workflow, since {since}.",
            )
        sentence = f"It has been executing step {self._step} since {since}"
        if children := workflow.unfinished_children:
            sentence += f", and {_are(children, 'of its children', 'of its children')} unfinished"
        return Explanation("running", f"{sentence}.")


def _limit(name: str, queue: Row[Any], workers: int) -> Explanation | None:
    """The first limit of a queue that is reached."""
    per_worker = "executes as many workflows as the live workers may"
    limits = [
        ("concurrency_limit", queue.running, queue.concurrency, "executes {} at most"),
        (
            "concurrency_limit",
            queue.partition_running,
            queue.partition_concurrency,
            "executes {} of a partition at most",
        ),
        (
            "rate_limit",
            queue.started,
            queue.rate_limit_max,
            f"starts {{}} in {queue.rate_limit_period_sec} s at most",
        ),
        (
            "rate_limit",
            queue.partition_started,
            queue.partition_rate_limit_max,
            f"starts {{}} of a partition in {queue.partition_rate_limit_period_sec} s at most",
        ),
        (
            "worker_concurrency_limit",
            queue.running_in_version,
            queue.worker_concurrency and queue.worker_concurrency * workers,
            per_worker,
        ),
        (
            "worker_concurrency_limit",
            queue.partition_running_in_version,
            queue.partition_worker_concurrency and queue.partition_worker_concurrency * workers,
            f"{per_worker} of a partition",
        ),
    ]
    for reason, count, most, sentence in limits:
        if most is not None and count >= most:
            return Explanation(reason, f"The queue {name!r} {sentence.format(most)}.")
    return None


def _are(number: int, one: str, many: str) -> str:
    return f"1 {one} is" if number == 1 else f"{number} {many} are"


def _calls(expected: str | None) -> str:
    """What code does where another step is recorded; what stands in parentheses is no name."""
    if expected is None:
        return "ends before it"
    is_a_name = not expected.startswith("(")
    return f"calls {expected!r}" if is_a_name else f"goes on differently {expected}"


def _at(milliseconds: int | None) -> str:
    return rfc3339(milliseconds) or "an unknown time"
