"""Every SQL statement over DBOS's own tables, where `DBOSClient` has no method that fits."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

from sqlalchemy import Connection, Engine, Row, TextClause, text

from .errors import UnknownWorkflowId
from .failures import failed_step
from .portable import loaded
from .settings import settings

INTERNAL_QUEUE = "_dbos_internal_queue"
"""DBOS's own, without limits: for what was in no queue before."""

DEEP = 1000
"""Workflows ahead in a queue that are counted for `Retry-After`; more make no difference."""

COUNTED = 10_000
"""Workflows that are counted for `explain`."""

MAX_ERROR_BYTES = 4 * 1024 * 1024
"""What is read of an error; workers shorten what they store of one to less than that."""

MAX_PAGE_BYTES = 4 * 1024 * 1024
"""What is read at once of many values together: events, values of streams, errors of steps."""

MAX_LISTED_BYTES = 64 * 1024
"""The largest progress that a page of `list` shows; a page has up to a hundred."""

MAX_EVENTS = 1000
"""The events that `status` shows at most, the first ones by their keys."""

MAX_KEY_BYTES = 2048
"""An event with a longer key is not shown. An index of Postgres takes 2,704 bytes, compressed."""

MAX_STEPS = 10_000
"""The steps that are shown at most, the first ones."""

SAME_APPLICATION = """
    coalesce({other}.application_name, s.application_name, '')
        = coalesce(s.application_name, {other}.application_name, '')
"""
"""Whether the application of `s` may execute `other`; what belongs to none is anybody's."""

LEADING = f"""(
    select v.version_name from dbos.application_versions v
    where {SAME_APPLICATION.format(other="v")}
    order by v.version_timestamp desc limit 1
)"""
"""The version whose workers execute what is not bound to a version yet."""

AHEAD = f"""
    select from dbos.workflow_status a
    where a.queue_name = s.queue_name and a.status = 'ENQUEUED'
        and a.workflow_uuid not in (
            select u.workflow_uuid from catalog.unreplayable u where u.tried_at > '-infinity'
        )
        and (a.priority, a.created_at) < (s.priority, s.created_at)
        and coalesce(a.queue_partition_key, '') = coalesce(s.queue_partition_key, '')
        and {SAME_APPLICATION.format(other="a")}
        and coalesce(a.application_version, {LEADING})
            is not distinct from coalesce(s.application_version, {LEADING})
"""
"""What workers take from a queue before `s`: lower numbers of priority, then what is older; not
what is held since its code has changed, unless that is to be tried at once."""

SUMMARY = """
    s.workflow_uuid as workflow_id, left(s.name, 1024) as name,
    left(s.queue_name, 1024) as queue_name, left(s.status, 1024) as status, s.created_at,
    s.updated_at, s.started_at_epoch_ms as started_at, s.completed_at,
    s.recovery_attempts as attempts, left(s.application_version, 1024) as application_version,
    s.delay_until_epoch_ms as delayed_until
"""
"""The columns of a `Workflow`; only what is longer than any index takes is cut."""

LIMITED = """
    case when octet_length({value}) <= {most} then {value} end as {name},
    case when octet_length({value}) > {most} then octet_length({value}) end as {name}_bytes
"""
"""The columns of a `Value`. Postgres knows the length of a text without reading it, wherever and
however compressed it lies."""

ERROR = LIMITED.format(value="coalesce(o.error, s.error)", most=MAX_ERROR_BYTES, name="error")
"""The error of a workflow `s`, which lies in its `workflow_output` `o` or, of old, in itself."""

VISIBLE = """
    coalesce(s.application_name, :application) = :application
        and (cast(:users as text[]) is null or s.authenticated_user = any(:users))
"""
"""Whether somebody who sees the workflows of `users`, or of all, sees `s`."""

WORKFLOW = text(f"""
    select {SUMMARY} from dbos.workflow_status s
    where s.workflow_uuid = :workflow_id and {VISIBLE}
""")

STATUS = text(f"""
    select {SUMMARY}, s.serialization,
           {
    LIMITED.format(value="coalesce(o.output, s.output)", most=":max_result_bytes", name="output")
},
           {ERROR},
           {LIMITED.format(value="e.value", most=":max_value_bytes", name="progress")},
           e.serialization as progress_serialization,
           (s.delay_until_epoch_ms - extract(epoch from now()) * 1000)::float8 / 1000 as due_in
    from dbos.workflow_status s
    left join dbos.workflow_output o on o.workflow_uuid = s.workflow_uuid
    left join dbos.workflow_events e on e.workflow_uuid = s.workflow_uuid and e.key = 'progress'
    where s.workflow_uuid = :workflow_id and {VISIBLE}
""")

POSITION = text(f"""
    select (select count(*) from ({AHEAD} limit {DEEP}) a) as ahead
    from dbos.workflow_status s
    where s.workflow_uuid = :workflow_id
""")
"""A statement of its own, since to plan it takes longer than to read the status."""

EVENTS = text(f"""
    select key, serialization,
           case when fits then value end as value, case when not fits then bytes end as value_bytes
    from (
        select e.*, bytes <= :max_value_bytes and sum(bytes) filter (
            where bytes <= :max_value_bytes
        ) over (order by e.key) <= {MAX_PAGE_BYTES} as fits
        from (
            select key, value, serialization, octet_length(value) as bytes
            from dbos.workflow_events
            where workflow_uuid = :workflow_id and octet_length(key) <= {MAX_KEY_BYTES}
            order by key
            limit {MAX_EVENTS + 1}
        ) e
    ) e
    order by key
""")
"""What a workflow has told; of many large values the first ones."""

MAX_STREAMS = 100
"""Streams of a workflow that can be followed. Each costs every look at it two looks at an index."""

KEYS = f"""
    with recursive keys as (
        (
            select t.key, 1 as number from dbos.streams t
            where t.workflow_uuid = {{workflow}} order by t.key limit 1
        )
        union all
        select (
            select t.key from dbos.streams t
            where t.workflow_uuid = {{workflow}} and t.key > keys.key order by t.key limit 1
        ), keys.number + 1
        from keys where keys.key is not null and keys.number < {MAX_STREAMS}
    )
"""
"""The first streams of a workflow: a look at the index for each, however many values they have."""

LOOK_MILLISECONDS = 1500
"""How long a look at those whom somebody waits for may take. Twice that, a look at all and one at
each alone, is less than the time until an answer is due."""

VERSIONS = text(f"""
    select s.workflow_uuid,
           s.status not in ('ENQUEUED', 'DELAYED', 'PENDING') as finished,
           concat_ws('/',
               s.status, s.updated_at, s.recovery_attempts, s.started_at_epoch_ms, e.xmin,
               ({KEYS.format(workflow="s.workflow_uuid")} select sum((
                   select max(t."offset") + 1 from dbos.streams t
                   where t.workflow_uuid = s.workflow_uuid and t.key = keys.key
               )) from keys)
           ) as version
    from dbos.workflow_status s
    left join dbos.workflow_events e on e.workflow_uuid = s.workflow_uuid and e.key = 'progress'
    where s.workflow_uuid = any(:workflow_ids)
""")

STREAM_KEYS = text(f"""
    {KEYS.format(workflow=":workflow_id")} select key from keys where key is not null
""")

STREAM_VALUES = text(f"""
    select key, "offset", serialization,
           case when fits and bytes <= :max_value_bytes then value end as value,
           case when bytes > :max_value_bytes then bytes end as value_bytes, fits
    from (
        select t.*, octet_length(t.value) as bytes, row_number() over page = 1 or sum(
            octet_length(t.key) + case when octet_length(t.value) <= :max_value_bytes
                then octet_length(t.value) else 0 end
        ) over page <= {MAX_PAGE_BYTES} as fits
        from (
            select t.key, t."offset", t.value, t.serialization
            from json_each_text(cast(:offsets as json)) followed cross join lateral (
                select * from dbos.streams t
                where t.workflow_uuid = :workflow_id and t.key = followed.key
                    and t."offset" >= cast(followed.value as bigint)
                order by t."offset"
                limit :limit
            ) t
            order by t.key, t."offset"
            limit :limit
        ) t
        window page as (order by t.key, t."offset")
    ) t
    order by key, "offset"
""")
"""Of large values the first ones; at least one."""

BATCH = text("""
    insert into dbos.workflow_status (
        workflow_uuid, creator_xid, status, name, queue_name, application_name,
        authenticated_user, authenticated_roles, recovery_attempts, workflow_timeout_ms, priority,
        serialization, queue_partition_key, delay_until_epoch_ms, attributes, created_at,
        updated_at
    )
    select other.id, gen_random_uuid(), status, name, queue_name, application_name,
        authenticated_user, authenticated_roles, recovery_attempts, workflow_timeout_ms, priority,
        serialization, queue_partition_key, delay_until_epoch_ms, attributes,
        created_at + other.number, updated_at
    from dbos.workflow_status first
    cross join unnest(cast(:ids as text[])) with ordinality other (id, number)
    where first.workflow_uuid = :first_id
    on conflict (workflow_uuid) do nothing
""")
"""Workflows like the first one of a batch, each a millisecond later, so that they stay in order."""

BATCH_INPUTS = text("""
    insert into dbos.workflow_input (workflow_uuid, inputs)
    select * from unnest(cast(:ids as text[]), cast(:inputs as text[]))
    on conflict (workflow_uuid) do nothing
""")

RESUME = text("""
    update dbos.workflow_status set
        status = 'ENQUEUED', owner_xid = null, recovery_attempts = 0, deduplication_id = null,
        queue_name = :queue, workflow_deadline_epoch_ms = null, started_at_epoch_ms = null,
        completed_at = null, updated_at = (extract(epoch from now()) * 1000)::bigint
    where workflow_uuid = :workflow_id
        and status in ('CANCELLED', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED')
""")
"""What DBOS does to resume a workflow. DBOS itself would start one again that is running."""

TIME_NOW = text("select extract(epoch from clock_timestamp()) as now")

TRY_AGAIN = text("""
    update catalog.unreplayable u set tried_at = '-infinity'
    from dbos.workflow_status s
    where u.workflow_uuid = :workflow_id and s.workflow_uuid = u.workflow_uuid
        and s.status = 'ENQUEUED'
""")
"""Has workers take at once what is held since its code has changed."""

HOLDER = text("""
    select workflow_uuid
    from dbos.workflow_status
    where queue_name = :queue and deduplication_id = :deduplication_id
""")

MESSAGE = text(f"""
    select {LIMITED.format(value="message", most=":max_value_bytes", name="message")}, serialization
    from dbos.notifications where message_uuid = :message_id
""")

LIST_TEXT = f"""
    select {SUMMARY} from dbos.workflow_status s
    where {VISIBLE}
        and (cast(:statuses as text[]) is null or s.status = any(:statuses))
        and (cast(:names as text[]) is null or s.name = any(:names))
        and s.created_at >= coalesce(:since, 0)
        and s.created_at < coalesce(:until, 9223372036854775807)
        and (s.created_at, s.workflow_uuid) < (
            coalesce(:last_created_at, 9223372036854775807), cast(:last_id as text)
        )
    order by s.created_at desc, s.workflow_uuid desc
    limit :limit
"""

LIST = text(LIST_TEXT)

LIST_WITH_PROGRESS = text(f"""
    select s.*, {LIMITED.format(value="e.value", most=MAX_LISTED_BYTES, name="progress")},
           e.serialization as progress_serialization
    from ({LIST_TEXT}) s
    left join dbos.workflow_events e on e.workflow_uuid = s.workflow_id and e.key = 'progress'
    order by s.created_at desc, s.workflow_id desc
""")

LIST_MILLISECONDS = 4000
"""How long a page of `list` may take: a rare filter on a huge table must not hold its connection
for longer than somebody waits for the answer."""

STEPS = text(f"""
    select number, name, started_at, completed_at, serialization, child_workflow_id,
           error is not null as failed,
           case when fits then error end as error, case when not fits then bytes end as error_bytes
    from (
        select o.*, bytes <= {MAX_ERROR_BYTES} and sum(bytes) filter (
            where bytes <= {MAX_ERROR_BYTES}
        ) over (order by number) <= {MAX_PAGE_BYTES} as fits
        from (
            select left(function_name, 1024) as name, started_at_epoch_ms as started_at,
                   completed_at_epoch_ms as completed_at, serialization,
                   left(child_workflow_id, 1024) as child_workflow_id,
                   error, octet_length(error) as bytes, function_id as number
            from dbos.operation_outputs
            where workflow_uuid = :workflow_id
            order by function_id
            limit {MAX_STEPS + 1}
        ) o
    ) o
    order by number
""")
"""Without the results; of many large errors the first ones."""

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

CLOCK = HOLDERS.format(name="'dbos-functions clock ' || :application || ' ' || v.version_name")
THREADS = HOLDERS.format(name="'dbos-functions threads ' || :application || ' ' || v.version_name")

SITUATION = text(f"""
    with latest_step as (
        select function_id, function_name, completed_at_epoch_ms
        from dbos.operation_outputs
        where workflow_uuid = :workflow_id
        order by function_id desc
        limit 1
    )
    select s.workflow_uuid as workflow_id, s.status, s.queue_name as queue,
           s.queue_partition_key as partition_key,
           s.application_version, s.completed_at, s.started_at_epoch_ms as started_at,
           s.delay_until_epoch_ms as delayed_until,
           s.parent_workflow_id is not null as is_child,
           s.workflow_deadline_epoch_ms as deadline, s.recovery_attempts as attempts,
           (extract(epoch from now()) * 1000)::bigint as now,
           case when s.status = 'ENQUEUED' then (
               select count(*) from ({AHEAD} limit {COUNTED}) a
           ) end as ahead,
           case when s.status = 'PENDING' then ({LEASE}) > 0 end as owner_alive,
           p.function_id as step,
           (
               select count(*) from dbos.operation_outputs o
               where o.workflow_uuid = s.workflow_uuid
           ) as recorded,
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
           ) as unfinished_children,
           e.step as ended_step, e.step_name as ended_step_name, e.certain as ended_certain,
           e.ended_at,
           u.reason as held, u.function_id as held_at, u.recorded_name as recorded_step,
           u.expected_name as expected_step,
           (extract(epoch from nullif(u.tried_at, '-infinity')) * 1000)::bigint as tried_at,
           {ERROR}, s.serialization
    from dbos.workflow_status s
    left join dbos.workflow_output o on o.workflow_uuid = s.workflow_uuid
    left join latest_step p on true
    left join catalog.ended e on e.workflow_uuid = s.workflow_uuid
    left join catalog.unreplayable u
        on u.workflow_uuid = s.workflow_uuid and s.status = 'ENQUEUED'
    where s.workflow_uuid = :workflow_id
""")

STEP_NAME = text("""
    select function_name as name from dbos.operation_outputs
    where workflow_uuid = :workflow_id and function_id = :number
""")

RUNNING = f"""
    select count(*) from (
        select from dbos.workflow_status r
        where r.queue_name = q.name and r.status = 'PENDING'
            and {SAME_APPLICATION.format(other="r")} {{which}}
        limit {COUNTED}
    ) r
"""

STARTED = f"""
    select count(*) from dbos.workflow_status r
    where r.queue_name = q.name and r.rate_limited and r.status not in ('ENQUEUED', 'DELAYED')
        and r.started_at_epoch_ms > ((extract(epoch from now()) - {{period}}) * 1000)::bigint
        and {SAME_APPLICATION.format(other="r")} {{which}}
"""

SAME_PARTITION = "and r.queue_partition_key = s.queue_partition_key"

SAME_VERSION = f"and r.application_version = coalesce(s.application_version, {LEADING})"

QUEUE = text(f"""
    select q.concurrency, q.worker_concurrency, q.rate_limit_max, q.rate_limit_period_sec,
           q.partition_concurrency, q.partition_worker_concurrency,
           q.partition_rate_limit_max, q.partition_rate_limit_period_sec,
           coalesce(
               q.partition_concurrency, q.partition_worker_concurrency, q.partition_rate_limit_max
           ) is not null as partitioned,
           ({RUNNING.format(which="")}) as running,
           ({RUNNING.format(which=SAME_VERSION)}) as running_in_version,
           ({RUNNING.format(which=SAME_PARTITION)}) as partition_running,
           ({RUNNING.format(which=f"{SAME_PARTITION} {SAME_VERSION}")})
               as partition_running_in_version,
           case when q.rate_limit_max is not null then (
               {STARTED.format(which="", period="q.rate_limit_period_sec")}
           ) end as started,
           case when q.partition_rate_limit_max is not null then (
               {STARTED.format(which=SAME_PARTITION, period="q.partition_rate_limit_period_sec")}
           ) end as partition_started
    from dbos.workflow_status s
    join dbos.queues q on q.name = s.queue_name
    where s.workflow_uuid = :workflow_id
""")

WORKERS = text(f"""
    select v.version_name as version, ({VERSION}) as workers, ({CLOCK}) as wrong_clocks,
        ({THREADS}) as without_threads
    from dbos.application_versions v
    where coalesce(v.application_name, :application) = :application
    order by v.version_timestamp desc
""")
"""The versions of an application, the one that leads first, and how many workers each has: alive,
and of these how many take nothing since their clock is wrong, or nothing that needs a thread."""


class Sight(TypedDict):
    """Which workflows somebody sees."""

    application: str
    users: Sequence[str] | None
    """Whose; None is everybody's."""


class Workflow(NamedTuple):
    """One workflow; times are milliseconds of the epoch."""

    workflow_id: str
    name: str
    queue_name: str | None
    status: str
    """DBOS's own."""
    created_at: int
    updated_at: int
    started_at: int | None
    completed_at: int | None
    attempts: int
    application_version: str | None
    delayed_until: int | None


class Value(NamedTuple):
    """A value of a row; one that is too large to be read is None, beside its size."""

    value: Any
    bytes: int | None = None


class Listed(NamedTuple):
    """Some workflows, and what each tells of its progress, if that was asked for."""

    workflows: list[Workflow]
    progress: list[Value]


class Events(NamedTuple):
    """What a workflow has told, by key, and whether it has told more."""

    values: Mapping[str, Value]
    more: bool


class Outcome(NamedTuple):
    """What a workflow has said of itself, how many are before it in its queue, up to DEEP, and how
    long it is delayed."""

    result: Value
    error: Value
    progress: Value
    ahead: int
    due_in: float | None
    """Seconds until its delay ends, if it has one."""
    events: Events | None = None
    """What it has told, if that was asked for."""


class Version(NamedTuple):
    """Which state a workflow is in; another one has another `name`."""

    name: str
    finished: bool


class StreamValue(NamedTuple):
    """One value that a workflow has written with `DBOS.write_stream`."""

    key: str
    offset: int
    value: Value


class Page(NamedTuple):
    """Some values of streams, and whether there are no more at this moment."""

    values: list[StreamValue]
    complete: bool


class Step(NamedTuple):
    """One step that a workflow has recorded; times are milliseconds of the epoch."""

    number: int
    name: str
    started_at: int | None
    completed_at: int | None
    error: Value
    failed: bool
    child_workflow_id: str | None


class Failure(NamedTuple):
    """What a workflow failed with, and the name of the step that has raised it, if one has."""

    error: Value
    step_name: str | None


def workflow(engine: Engine, sight: Sight, workflow_id: str) -> Workflow:
    """A workflow, in one round trip where `DBOSClient` needs three; raises UnknownWorkflowId."""
    return _workflow(_row(engine, WORKFLOW, workflow_id=workflow_id, **sight))


def status(
    engine: Engine, sight: Sight, workflow_id: str, *, events: bool = False
) -> tuple[Workflow, Outcome]:
    """A workflow with its outcome, in one round trip, or two while it is enqueued, and one for its
    events.

    `DBOSClient` would need more, and would unpickle what another client has pickled. Raises
    UnknownWorkflowId.
    """
    row = _row(engine, STATUS, workflow_id=workflow_id, **_limits(), **sight)
    position = _rows(engine, POSITION, workflow_id=workflow_id) if row.status == "ENQUEUED" else []
    return _workflow(row), Outcome(
        result=Value(loaded(row.output, row.serialization), row.output_bytes),
        error=Value(loaded(row.error, row.serialization), row.error_bytes),
        progress=_progress(row),
        ahead=sum(each.ahead for each in position),
        due_in=row.due_in,
        events=_events(engine, workflow_id) if events else None,
    )


def versions(engine: Engine, workflow_ids: Sequence[str]) -> dict[str, Version]:
    """In which state each workflow is; those that do not exist are left out."""
    limited = VERSIONS.execution_options(milliseconds=LOOK_MILLISECONDS)
    rows = _rows(engine, limited, workflow_ids=list(workflow_ids))
    return {row.workflow_uuid: Version(row.version, row.finished) for row in rows}


def stream_keys(engine: Engine, workflow_id: str) -> list[str]:
    """The keys of a workflow's streams, MAX_STREAMS at most, in order."""
    return [row.key for row in _rows(engine, STREAM_KEYS, workflow_id=workflow_id)]


def stream_values(engine: Engine, workflow_id: str, offsets: Mapping[str, int], limit: int) -> Page:
    """The next values of these streams of a workflow, each from its offset on, `limit` at most."""
    rows = _rows(
        engine,
        STREAM_VALUES,
        workflow_id=workflow_id,
        offsets=json.dumps(offsets),
        limit=limit,
        max_value_bytes=settings().max_value_bytes,
    )
    values = [StreamValue(row.key, row.offset, _value(row)) for row in rows if row.fits]
    return Page(values, complete=len(values) < limit and len(values) == len(rows))


def time_now(engine: Engine) -> float:
    """Seconds since the epoch on Postgres's clock."""
    return float(_rows(engine, TIME_NOW)[0].now)


def holder(engine: Engine, queue: str, deduplication_id: str) -> str | None:
    """The id of the workflow that holds a deduplication id in a queue, if one does."""
    rows = _rows(engine, HOLDER, queue=queue, deduplication_id=deduplication_id)
    return rows[0].workflow_uuid if rows else None


def message(engine: Engine, message_id: str) -> list[Value]:
    """The value of a message to a workflow, in a list that is empty if there is none."""
    limit = settings().max_value_bytes
    rows = _rows(engine, MESSAGE, message_id=message_id, max_value_bytes=limit)
    return [Value(loaded(row.message, row.serialization), row.message_bytes) for row in rows]


def workflows(engine: Engine, sight: Sight, *, progress: bool, **filters: Any) -> Listed:
    """A page of workflows, newest first, and what each tells of its progress if that is wanted."""
    statement = LIST_WITH_PROGRESS if progress else LIST
    limited = statement.execution_options(milliseconds=LIST_MILLISECONDS)
    rows = _rows(engine, limited, **filters, **sight)
    known = [_progress(row) for row in rows] if progress else []
    return Listed([_workflow(row) for row in rows], known)


def _events(engine: Engine, workflow_id: str) -> Events:
    limit = settings().max_value_bytes
    rows = _rows(engine, EVENTS, workflow_id=workflow_id, max_value_bytes=limit)
    values = {row.key: _value(row) for row in rows[:MAX_EVENTS]}
    return Events(values, more=len(rows) > MAX_EVENTS)


def steps(engine: Engine, workflow_id: str) -> list[Step]:
    """What a workflow has recorded, in order, without the results; MAX_STEPS and one at most."""
    return [
        Step(
            row.number,
            row.name,
            row.started_at,
            row.completed_at,
            Value(loaded(row.error, row.serialization), row.error_bytes),
            row.failed,
            row.child_workflow_id,
        )
        for row in _rows(engine, STEPS, workflow_id=workflow_id)
    ]


def situation(
    engine: Engine, application: str, workflow_id: str
) -> tuple[Row[Any], Row[Any] | None, Sequence[Row[Any]], Failure]:
    """The workflow, its queue, the versions with their live workers, and its failure, for
    `explanation`.

    Raises UnknownWorkflowId.
    """
    workflow = _row(engine, SITUATION, application=application, workflow_id=workflow_id)
    queues = _rows(engine, QUEUE, workflow_id=workflow_id) if workflow.status == "ENQUEUED" else []
    workers = _rows(engine, WORKERS, application=application)
    error = Value(loaded(workflow.error, workflow.serialization), workflow.error_bytes)
    failure = Failure(error, _step_name(engine, workflow_id, failed_step(error.value)))
    return workflow, next(iter(queues), None), workers, failure


def _step_name(engine: Engine, workflow_id: str, number: int | None) -> str | None:
    if number is None:
        return None
    rows = _rows(engine, STEP_NAME, workflow_id=workflow_id, number=number)
    return rows[0].name if rows else None


def add_to_batch(
    transaction: Connection, first_id: str, calls: Mapping[str, Mapping[str, Any]]
) -> int:
    """Enqueue workflows like the one that is in the table already, with other arguments, by id.

    Returns how many of the ids were new.
    """
    inputs = [json.dumps({"positionalArgs": [], "namedArgs": call}) for call in calls.values()]
    ids = list(calls)
    new = transaction.execute(BATCH, {"first_id": first_id, "ids": ids}).rowcount
    transaction.execute(BATCH_INPUTS, {"ids": ids, "inputs": inputs})
    return int(new)


def resume(engine: Engine, workflow_id: str, queue: str) -> bool:
    """Enqueue a workflow again that was stopped, or have one tried again that is held; whether
    it was."""
    with engine.begin() as connection:
        parameters = {"workflow_id": workflow_id, "queue": queue}
        resumed = connection.execute(RESUME, parameters).rowcount
        tried = connection.execute(TRY_AGAIN, parameters).rowcount
        return resumed + tried > 0


def _rows(engine: Engine, statement: TextClause, **parameters: Any) -> Sequence[Row[Any]]:
    # Without a transaction, since BEGIN and ROLLBACK are a round trip each.
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        return connection.execute(statement, parameters).all()


def _limits() -> dict[str, int]:
    known = settings()
    return {"max_result_bytes": known.max_result_bytes, "max_value_bytes": known.max_value_bytes}


def _value(row: Row[Any]) -> Value:
    return Value(loaded(row.value, row.serialization), row.value_bytes)


def _progress(row: Row[Any]) -> Value:
    return Value(loaded(row.progress, row.progress_serialization), row.progress_bytes)


def _workflow(row: Row[Any]) -> Workflow:
    return Workflow(*row[: len(Workflow._fields)])


def _row(engine: Engine, statement: TextClause, *, workflow_id: str, **more: Any) -> Row[Any]:
    rows = _rows(engine, statement, workflow_id=workflow_id, **more)
    if not rows:
        raise UnknownWorkflowId(workflow_id=workflow_id)
    return rows[0]
