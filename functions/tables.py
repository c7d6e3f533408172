"""Every SQL statement over DBOS's own tables, where `DBOSClient` has no method that fits."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, Row, TextClause, text

from .portable import loaded

DEEP = 1000
"""Workflows ahead in a queue that are counted for `Retry-After`; more make no difference."""

COUNTED = 10_000
"""Workflows that are counted for `explain`."""

AHEAD = """
    select a.workflow_uuid from dbos.workflow_status a
    where a.queue_name = s.queue_name and a.status = 'ENQUEUED'
        and (a.priority, a.created_at) < (s.priority, s.created_at)
        and coalesce(a.queue_partition_key, '') = coalesce(s.queue_partition_key, '')
"""
"""What a queue starts before `s`: a lower number of priority first, then what is older."""

OUTCOME = text(f"""
    select s.serialization,
           coalesce(o.output, s.output) as output,
           coalesce(o.error, s.error) as error,
           e.value as progress,
           e.serialization as progress_serialization,
           case when s.status = 'ENQUEUED' then (
               select count(*) from ({AHEAD} limit {DEEP}) a
           ) else 0 end as ahead
    from dbos.workflow_status s
    left join dbos.workflow_output o on o.workflow_uuid = s.workflow_uuid
    left join dbos.workflow_events e on e.workflow_uuid = s.workflow_uuid and e.key = 'progress'
    where s.workflow_uuid = :workflow_id
""")

VERSIONS = text("""
    select s.workflow_uuid,
           s.status not in ('ENQUEUED', 'DELAYED', 'PENDING') as finished,
           concat_ws('/',
               s.status, s.updated_at, s.recovery_attempts, s.started_at_epoch_ms, md5(e.value),
               (select count(*) from dbos.streams t where t.workflow_uuid = s.workflow_uuid)
           ) as version
    from dbos.workflow_status s
    left join dbos.workflow_events e on e.workflow_uuid = s.workflow_uuid and e.key = 'progress'
    where s.workflow_uuid = any(:workflow_ids)
""")

STREAM_VALUES = text("""
    select t.key, t."offset", t.value, t.serialization
    from dbos.streams t
    left join json_each_text(cast(:offsets as json)) sent on sent.key = t.key
    where t.workflow_uuid = :workflow_id and t."offset" >= coalesce(cast(sent.value as int), 0)
    order by t.key, t."offset"
    limit :limit
""")

HOLDER = text("""
    select workflow_uuid
    from dbos.workflow_status
    where queue_name = :queue and deduplication_id = :deduplication_id
""")

MESSAGE = text("""
    select message, serialization from dbos.notifications where message_uuid = :message_id
""")

LIST = text("""
    select workflow_uuid as workflow_id, name, queue_name, status, created_at, updated_at,
           started_at_epoch_ms as dequeued_at, completed_at, recovery_attempts,
           application_version as app_version
    from dbos.workflow_status
    where coalesce(application_name, :application) = :application
        and (cast(:users as text[]) is null or authenticated_user = any(:users))
        and (cast(:statuses as text[]) is null or status = any(:statuses))
        and (cast(:names as text[]) is null or name = any(:names))
        and created_at >= coalesce(:since, 0)
        and created_at < coalesce(:until, 9223372036854775807)
        and (created_at, workflow_uuid) < (
            coalesce(:last_created_at, 9223372036854775807), cast(:last_id as text)
        )
    order by created_at desc, workflow_uuid desc
    limit :limit
""")

STEPS = text("""
    select function_name as name, started_at_epoch_ms as started_at,
           completed_at_epoch_ms as completed_at, error, serialization, child_workflow_id
    from dbos.operation_outputs
    where workflow_uuid = :workflow_id
    order by function_id
""")

HOLDERS = """
    select count(*) from pg_locks l
    where l.locktype = 'advisory' and l.granted and l.objsubid = 1
        and l.database = (select oid from pg_database where datname = current_database())
        and (cast(l.classid as bigint) << 32) | cast(l.objid as bigint)
            = hashtextextended({name}, 0)
"""
"""How many sessions hold the advisory lock of a name, as workers do while they are alive."""

LEASE = HOLDERS.format(name="'dbos-functions executor ' || :application || ' ' || s.executor_id")

VERSION = HOLDERS.format(name="'dbos-functions version ' || :application || ' ' || v.version_name")

SITUATION = text(f"""
    with latest_step as (
        select function_id, function_name, completed_at_epoch_ms
        from dbos.operation_outputs
        where workflow_uuid = :workflow_id
        order by function_id desc
        limit 1
    )
    select s.status, s.queue_name as queue, s.queue_partition_key as partition_key,
           s.application_version, s.executor_id, s.created_at, s.updated_at, s.completed_at,
           s.started_at_epoch_ms as started_at, s.delay_until_epoch_ms as delayed_until,
           s.parent_workflow_id is not null as is_child,
           s.workflow_deadline_epoch_ms as deadline, s.recovery_attempts as attempts,
           (extract(epoch from now()) * 1000)::bigint as now,
           case when s.status = 'ENQUEUED' then (
               select count(*) from ({AHEAD} limit {COUNTED}) a
           ) end as ahead,
           case when s.status = 'PENDING' then ({LEASE}) > 0 end as owner_alive,
           p.function_id as step,
           p.function_name as step_name,
           p.completed_at_epoch_ms as step_completed_at,
           exists (
               select from dbos.operation_outputs o
               where o.workflow_uuid = s.workflow_uuid and o.function_id = p.function_id - 1
           ) as step_before,
           (
               select count(*) from dbos.workflow_status c
               where c.parent_workflow_id = s.workflow_uuid
                   and c.status in ('ENQUEUED', 'DELAYED', 'PENDING')
           ) as unfinished_children
    from dbos.workflow_status s
    left join latest_step p on true
    where s.workflow_uuid = :workflow_id
""")

RUNNING = f"""
    select count(*) from (
        select from dbos.workflow_status r
        where r.queue_name = q.name and r.status = 'PENDING' {{which}} limit {COUNTED}
    ) r
"""

STARTED = """
    select count(*) from dbos.workflow_status r
    where r.queue_name = q.name and r.rate_limited and r.status not in ('ENQUEUED', 'DELAYED')
        and r.started_at_epoch_ms > (extract(epoch from now()) - {period}) * 1000 {which}
"""

SAME_PARTITION = "and r.queue_partition_key = :partition_key"

QUEUE = text(f"""
    select q.concurrency, q.worker_concurrency, q.rate_limit_max, q.rate_limit_period_sec,
           q.partition_concurrency, q.partition_worker_concurrency,
           q.partition_rate_limit_max, q.partition_rate_limit_period_sec,
           coalesce(
               q.partition_concurrency, q.partition_worker_concurrency, q.partition_rate_limit_max
           ) is not null as partitioned,
           ({RUNNING.format(which="")}) as running,
           ({RUNNING.format(which=SAME_PARTITION)}) as partition_running,
           ({STARTED.format(which="", period="q.rate_limit_period_sec")}) as started,
           (
               {STARTED.format(which=SAME_PARTITION, period="q.partition_rate_limit_period_sec")}
           ) as partition_started
    from dbos.queues q
    where q.name = :queue
""")

WORKERS = text(f"""
    select v.version_name as version, ({VERSION}) as workers
    from dbos.application_versions v
    where coalesce(v.application_name, :application) = :application
    order by v.version_timestamp desc
""")
"""The versions of an application, the one that leads first, and how many workers each has."""


@dataclass(frozen=True)
class Outcome:
    """What a workflow has said of itself, and how many are before it in its queue, up to DEEP."""

    result: Any
    error: Any
    progress: Any
    ahead: int


@dataclass(frozen=True)
class Version:
    """Which state a workflow is in; another one has another `name`."""

    name: str
    finished: bool


@dataclass(frozen=True)
class StreamValue:
    """One value that a workflow has written with `DBOS.write_stream`."""

    key: str
    offset: int
    value: Any


@dataclass(frozen=True)
class Step:
    """One step that a workflow has recorded; times are milliseconds of the epoch."""

    name: str
    started_at: int | None
    completed_at: int | None
    error: Any
    failed: bool
    child_workflow_id: str | None


def outcome(engine: Engine, workflow_id: str) -> Outcome:
    """Read the outcome in one statement.

    `DBOSClient` would need three, and would unpickle what another client has pickled.
    """
    [row] = _rows(engine, OUTCOME, workflow_id=workflow_id)
    return Outcome(
        result=loaded(row.output, row.serialization),
        error=loaded(row.error, row.serialization),
        progress=loaded(row.progress, row.progress_serialization),
        ahead=row.ahead,
    )


def versions(engine: Engine, workflow_ids: Sequence[str]) -> dict[str, Version]:
    """In which state each workflow is; those that do not exist are left out."""
    rows = _rows(engine, VERSIONS, workflow_ids=list(workflow_ids))
    return {row.workflow_uuid: Version(row.version, row.finished) for row in rows}


def stream_values(
    engine: Engine, workflow_id: str, offsets: Mapping[str, int], limit: int
) -> list[StreamValue]:
    """The next values of a workflow's streams, each from its offset on, `limit` at most."""
    rows = _rows(
        engine, STREAM_VALUES, workflow_id=workflow_id, offsets=json.dumps(offsets), limit=limit
    )
    return [StreamValue(row.key, row.offset, loaded(row.value, row.serialization)) for row in rows]


def holder(engine: Engine, queue: str, deduplication_id: str) -> str | None:
    """The id of the workflow that holds a deduplication id in a queue, if one does."""
    rows = _rows(engine, HOLDER, queue=queue, deduplication_id=deduplication_id)
    return rows[0].workflow_uuid if rows else None


def message(engine: Engine, message_id: str) -> list[Any]:
    """The value of a message to a workflow, in a list that is empty if there is none."""
    rows = _rows(engine, MESSAGE, message_id=message_id)
    return [loaded(row.message, row.serialization) for row in rows]


def workflows(engine: Engine, **filters: Any) -> Sequence[Row[Any]]:
    """A page of workflows, newest first, as what `answers.summary` takes."""
    return _rows(engine, LIST, **filters)


def steps(engine: Engine, workflow_id: str) -> list[Step]:
    """What a workflow has recorded, in order, without the results."""
    return [
        Step(
            row.name,
            row.started_at,
            row.completed_at,
            loaded(row.error, row.serialization),
            row.error is not None,
            row.child_workflow_id,
        )
        for row in _rows(engine, STEPS, workflow_id=workflow_id)
    ]


def situation(
    engine: Engine, application: str, workflow_id: str
) -> tuple[Row[Any], Row[Any] | None, Sequence[Row[Any]]]:
    """The workflow, its queue, and the versions with their live workers, for `explanation`."""
    [workflow] = _rows(engine, SITUATION, application=application, workflow_id=workflow_id)
    queues = _rows(engine, QUEUE, queue=workflow.queue, partition_key=workflow.partition_key)
    workers = _rows(engine, WORKERS, application=application)
    return workflow, next(iter(queues), None), workers


def _rows(engine: Engine, statement: TextClause, **parameters: Any) -> Sequence[Row[Any]]:
    with engine.connect() as connection:
        return connection.execute(statement, parameters).all()
