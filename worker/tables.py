"""Every SQL statement over DBOS's own tables, where DBOS has no method that fits.

Times are those of Postgres, in milliseconds as in the tables.
"""

from psycopg.sql import SQL
from sqlalchemy import text

DEAD = """
with executors as materialized (
    select distinct executor_id
    from dbos.workflow_status
    where status = 'PENDING' and executor_id <> %(executor)s
        and coalesce(application_name, %(application)s) = %(application)s
)
select executor_id
from executors
where pg_try_advisory_xact_lock(hashtextextended(%(prefix)s || executor_id, 0))
"""
"""The executors that have something to execute but no lease; for this transaction it is ours."""

RELEASE = SQL("""
with latest as (
    select executor_id, max(started_at_epoch_ms) as started_at
    from dbos.workflow_status
    where status = 'PENDING' and executor_id = any(%(executors)s)
    group by executor_id
),
lost as (
    select s.workflow_uuid, s.executor_id, {attempts} as attempts, {version} as version,
        s.started_at_epoch_ms < latest.started_at - 1000 as early
    from dbos.workflow_status s
    join latest using (executor_id)
    where s.status = 'PENDING'
        and coalesce(s.application_name, %(application)s) = %(application)s and {which}
    limit 1000
    for no key update of s skip locked
),
released as (
    select *, attempts > %(most)s as given_up, {delay} as delay from lost
)
update dbos.workflow_status w set
    status = case
        when given_up then 'MAX_RECOVERY_ATTEMPTS_EXCEEDED'
        when delay > 0 then 'DELAYED'
        else 'ENQUEUED'
    end,
    owner_xid = null,
    started_at_epoch_ms = null,
    application_name = %(application)s,
    application_version = version,
    recovery_attempts = attempts,
    queue_name = case when not given_up then coalesce(w.queue_name, '_dbos_internal_queue') end,
    deduplication_id = case when not given_up then w.deduplication_id end,
    delay_until_epoch_ms = case
        when not given_up and delay > 0 then (extract(epoch from now()) * 1000)::bigint + delay
        else w.delay_until_epoch_ms
    end,
    completed_at = case when given_up then (extract(epoch from now()) * 1000)::bigint end,
    updated_at = (extract(epoch from now()) * 1000)::bigint
from released
where w.workflow_uuid = released.workflow_uuid
returning w.workflow_uuid, w.name, given_up
""")
"""What DBOS does to recover a workflow, or to give it up, for many at once.

`early` are those that an executor had begun before the last ones. A row that somebody has locked,
as a frozen worker may have, is left for the next time, and so is what follows a thousand others.
"""

ALL = SQL("true")

CLAIMED = SQL("""
    (s.workflow_uuid, coalesce(s.owner_xid, '')) in (
        select * from unnest(%(workflows)s::text[], %(owners)s::text[])
    )
""")

SAME_VERSION = SQL("s.application_version")

VERSION_IF_BEGUN = SQL("""
    case when exists (
        select from dbos.operation_outputs o where o.workflow_uuid = s.workflow_uuid
    ) then s.application_version end
""")

GOT_FURTHER = """
    exists (
        select from dbos.operation_outputs o
        where o.workflow_uuid = s.workflow_uuid and o.retention_timestamp >= s.started_at_epoch_ms
    )
"""

COUNTED = SQL(f"case when {GOT_FURTHER} then 1 else s.recovery_attempts end")
"""The attempts to execute a workflow, this one included, since it last got a step further."""

FORGIVEN = SQL(f"case when {GOT_FURTHER} then 0 else s.recovery_attempts - 1 end")
"""The same, as if this one had not been made."""

AT_ONCE = SQL("0::bigint")

APART = SQL("""
    case when attempts < 2 then 0 else (
        3000 * ((row_number() over (
            partition by executor_id, early, attempts < 2 order by workflow_uuid
        ) - 1) %% 4)
        + case when early then 12000 else 0 end
    ) end::bigint
""")
"""From the second time on in four groups, one after the other, after what was begun last.

A workflow that kills its worker soon does so alone, and those that ran beside it, perhaps for
days, are not given up with it.
"""

LATER = SQL("5000::bigint")

TAKE_OVER = RELEASE.format(which=ALL, attempts=COUNTED, delay=APART, version=SAME_VERSION)

HAND_OVER = RELEASE.format(which=ALL, attempts=FORGIVEN, delay=AT_ONCE, version=SAME_VERSION)

PUT_BACK_ORPHANS = RELEASE.format(
    which=CLAIMED, attempts=COUNTED, delay=AT_ONCE, version=SAME_VERSION
)

PUT_BACK_TURNED_AWAY = RELEASE.format(
    which=CLAIMED, attempts=FORGIVEN, delay=AT_ONCE, version=SAME_VERSION
)

PUT_BACK_STRANGERS = RELEASE.format(
    which=CLAIMED, attempts=FORGIVEN, delay=LATER, version=VERSION_IF_BEGUN
)

CLAIMS = """
select workflow_uuid, coalesce(owner_xid, ''), coalesce(queue_name, ''), name
from dbos.workflow_status
where status = 'PENDING' and executor_id = %(executor)s
    and coalesce(application_name, %(application)s) = %(application)s
"""
"""What this executor executes, as far as Postgres knows."""

OTHER_APPLICATION = """
select application_name
from dbos.queues
where name = any(%(queues)s) and application_name <> %(application)s
limit 1
"""

VERSIONS = """
select version_name
from dbos.application_versions
where coalesce(application_name, %(application)s) = %(application)s
"""

NEWER_VERSIONS = """
select version_name
from dbos.application_versions
where coalesce(application_name, %(application)s) = %(application)s and created_at > (
    select created_at
    from dbos.application_versions
    where coalesce(application_name, %(application)s) = %(application)s
        and version_name = %(version)s
)
"""

IS_LATEST_VERSION = """
select version_name = %(version)s
from dbos.application_versions
where coalesce(application_name, %(application)s) = %(application)s
order by version_timestamp desc
limit 1
"""

MAKE_LATEST_VERSION = """
update dbos.application_versions
set application_name = %(application)s, version_timestamp = greatest(
    (extract(epoch from now()) * 1000)::bigint,
    (select max(version_timestamp) + 1 from dbos.application_versions)
)
where coalesce(application_name, %(application)s) = %(application)s and version_name = %(version)s
"""

UNFINISHED = """
select workflow_uuid, name, status
from dbos.workflow_status
where status in ('PENDING', 'ENQUEUED', 'DELAYED')
    and coalesce(application_name, %(application)s) = %(application)s
    and application_version = %(version)s
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
    and coalesce(application_name, %(application)s) = %(application)s
    and application_version = %(version)s
"""

EXPIRED = """
select w.workflow_uuid
from dbos.workflow_status w
where w.completed_at < (extract(epoch from now()) * 1000)::bigint - %(age)s
    and w.status not in ('PENDING', 'ENQUEUED', 'DELAYED')
    and coalesce(w.application_name, %(application)s) = %(application)s
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
        or status = 'DELAYED' and queue_name = any(%(queues)s) and (
            recovery_attempts > 0
            or delay_until_epoch_ms <= (extract(epoch from now()) * 1000)::bigint
        )
    )
"""
"""What this executor has, or would take from the queues, now or when it is begun again apart."""

FULL = text("""
    select queue
    from unnest(cast(:queues as text[])) queue
    where (
        select true from dbos.workflow_status
        where queue_name = queue and status = 'ENQUEUED'
        order by priority, created_at
        limit 1
    )
""")
"""Which of some queues are not empty.

Postgres looks at the first row of an index for each. With `exists`, or with the version of what
is enqueued, it would rather read all of that.
"""

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
