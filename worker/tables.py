"""Every SQL statement over DBOS's own tables, where DBOS has no method that fits.

The clock is always that of Postgres, in milliseconds as in the tables.
"""

from psycopg.sql import SQL

DEAD = SQL("""
with executors as materialized (
    select distinct executor_id
    from dbos.workflow_status
    where status = 'PENDING' and executor_id <> %(executor)s
        and application_name = %(application)s
)
select executor_id
from executors
where pg_try_advisory_xact_lock(hashtextextended(%(prefix)s || executor_id, 0))
""")
"""The executors that have something to execute but no lease; for this transaction it is ours."""

REENQUEUE = SQL("""
with lost as (
    select workflow_uuid, recovery_attempts > %(most)s as exhausted
    from dbos.workflow_status
    where status = 'PENDING' and {which}
    for no key update skip locked
)
update dbos.workflow_status as w set
    status = case when exhausted then 'MAX_RECOVERY_ATTEMPTS_EXCEEDED' else 'ENQUEUED' end,
    owner_xid = null,
    started_at_epoch_ms = null,
    queue_name = case when not exhausted then coalesce(queue_name, '_dbos_internal_queue') end,
    deduplication_id = case when not exhausted then deduplication_id end,
    recovery_attempts = w.recovery_attempts - %(forgiven)s,
    completed_at = case when exhausted then (extract(epoch from now()) * 1000)::bigint end,
    updated_at = (extract(epoch from now()) * 1000)::bigint
from lost
where w.workflow_uuid = lost.workflow_uuid
returning w.workflow_uuid, w.name, w.status
""")
"""What DBOS does to recover a workflow, or to give it up, for many at once.

Each keeps its version, and waits for a worker of that. A row that somebody has locked, as a
frozen worker may have, is left for the next time.
"""

OF_EXECUTORS = SQL("executor_id = any(%(executors)s) and application_name = %(application)s")

OF_CLAIMS = SQL("""
    executor_id = %(executor)s and (workflow_uuid, coalesce(owner_xid, '')) in (
        select * from unnest(%(workflows)s::text[], %(owners)s::text[])
    )
""")

CLAIMS = """
select workflow_uuid, coalesce(owner_xid, ''), coalesce(queue_name, '')
from dbos.workflow_status
where status = 'PENDING' and executor_id = %(executor)s and application_name = %(application)s
"""
"""What this executor executes, as far as Postgres knows."""

NEWER_VERSIONS = """
select version_name
from dbos.application_versions
where application_name = %(application)s and created_at > (
    select created_at
    from dbos.application_versions
    where application_name = %(application)s and version_name = %(version)s
)
"""

IS_LATEST_VERSION = """
select version_name = %(version)s
from dbos.application_versions
where application_name = %(application)s
order by version_timestamp desc
limit 1
"""

MAKE_LATEST_VERSION = """
update dbos.application_versions
set version_timestamp = greatest(
    (extract(epoch from now()) * 1000)::bigint,
    (select max(version_timestamp) + 1 from dbos.application_versions)
)
where application_name = %(application)s and version_name = %(version)s
"""

UNFINISHED = """
select workflow_uuid, name, status
from dbos.workflow_status
where status in ('PENDING', 'ENQUEUED', 'DELAYED')
    and application_name = %(application)s and application_version = %(version)s
order by created_at
for update
"""

ADOPT = """
update dbos.workflow_status set
    application_version = %(current)s,
    status = case when status = 'PENDING' then 'ENQUEUED' else status end,
    owner_xid = null,
    started_at_epoch_ms = null,
    queue_name = coalesce(queue_name, '_dbos_internal_queue'),
    updated_at = (extract(epoch from now()) * 1000)::bigint
where status in ('PENDING', 'ENQUEUED', 'DELAYED')
    and application_name = %(application)s and application_version = %(version)s
"""

EXPIRED = """
select w.workflow_uuid
from dbos.workflow_status w
where w.completed_at < (extract(epoch from now()) * 1000)::bigint - %(age)s
    and w.status not in ('PENDING', 'ENQUEUED', 'DELAYED')
    and w.application_name = %(application)s
    and not exists (
        select from dbos.workflow_status parent
        where parent.workflow_uuid = w.parent_workflow_id
            and parent.status in ('PENDING', 'ENQUEUED', 'DELAYED')
    )
order by w.completed_at
limit %(limit)s
"""
"""Finished longer than `age` ago; a parent that still runs may yet ask for its children."""

WAITING = """
select count(*)
from dbos.workflow_status
where coalesce(application_name, %(application)s) = %(application)s
    and coalesce(application_version, %(version)s) = %(version)s
    and (
        status = 'ENQUEUED' and queue_name = any(%(queues)s)
        or status = 'PENDING' and executor_id = %(executor)s
        or status = 'DELAYED' and queue_name = any(%(queues)s)
            and delay_until_epoch_ms <= (extract(epoch from now()) * 1000)::bigint
    )
"""
"""What this executor has, or would take from the queues."""

DEPTHS = """
select queue_name, count(*), (
    extract(epoch from now()) * 1000
    - min(greatest(created_at, updated_at, coalesce(delay_until_epoch_ms, 0)))
) / 1000
from dbos.workflow_status
where status = 'ENQUEUED' and coalesce(application_name, %(application)s) = %(application)s
group by queue_name
"""
"""How many workflows wait in each queue, and for how many seconds the first of them."""

FINISHED = """
select workflow_uuid || '/' || completed_at, name, status,
    (completed_at - started_at_epoch_ms) / 1000.0
from dbos.workflow_status
where completed_at >= %(since)s and executor_id = %(executor)s
    and application_name = %(application)s
"""

STEPS = """
select o.workflow_uuid || '#' || o.function_id, o.function_name,
    (o.completed_at_epoch_ms - o.started_at_epoch_ms) / 1000.0
from dbos.operation_outputs o
join dbos.workflow_status w on w.workflow_uuid = o.workflow_uuid
where o.retention_timestamp >= %(since)s and w.executor_id = %(executor)s
    and w.application_name = %(application)s and o.function_name not like 'DBOS.%%'
"""
