"""Every SQL statement over DBOS's own tables, where DBOS has no method that fits.

Times are those of Postgres, in milliseconds as in the tables.
"""

from psycopg.sql import SQL
from sqlalchemy import text

MOST_DEAD = 500
"""How many dead executors are taken over at once, each of them a lock: Postgres has room for a few
thousand, for all its sessions. Others have their turn at the next look."""

DEAD = f"""
with executors as materialized (
    select distinct coalesce(executor_id, '') as executor_id
    from dbos.workflow_status
    where status = 'PENDING' and executor_id is distinct from %(executor)s
        and coalesce(application_name, %(application)s) = %(application)s
)
select executor_id
from executors
where pg_try_advisory_xact_lock(hashtextextended(%(prefix)s || executor_id, 0))
limit {MOST_DEAD}
"""
"""The executors that have something to execute but no lease; for this transaction it is ours. A row
without an executor is nobody's, and would hold a place of its queue for ever."""

PUT_BACK = """
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
    deduplication_id = case
        when not given_up and w.queue_name is not null then w.deduplication_id
    end,
    delay_until_epoch_ms = case
        when not given_up and delay > 0 then (extract(epoch from now()) * 1000)::bigint + delay
        else w.delay_until_epoch_ms
    end,
    completed_at = case when given_up then (extract(epoch from now()) * 1000)::bigint end,
    updated_at = (extract(epoch from now()) * 1000)::bigint
from released
where w.workflow_uuid = released.workflow_uuid
returning w.workflow_uuid, w.name, given_up
"""

RELEASE = SQL(f"""
with lost as (
    select s.workflow_uuid, {{attempts}} as attempts, {{version}} as version
    from dbos.workflow_status s
    where s.status = 'PENDING' and s.executor_id = any(%(executors)s)
        and coalesce(s.application_name, %(application)s) = %(application)s and {{which}}
    limit 1000
    for no key update of s skip locked
),
released as (
    select *, attempts > %(most)s as given_up, {{delay}} as delay from lost
)
{PUT_BACK}
""")
"""What DBOS does to recover a workflow, or to give it up, for many at once.

A row that somebody has locked, as a frozen worker may have, is left for the next time, and so is
what follows a thousand others. What was in no queue has no duplicates, and must find none in that
of DBOS, where an error would keep all others from being put back.
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


def _got_further(run: str) -> str:
    """Whether a run has recorded a step since it was claimed, as a condition."""
    return f"""exists (
        select from dbos.operation_outputs o
        where o.workflow_uuid = {run}.workflow_uuid
            and o.retention_timestamp >= {run}.started_at_epoch_ms
    )"""


GOT_FURTHER = _got_further("s")

FORGIVEN = SQL(f"case when {GOT_FURTHER} then 0 else greatest(s.recovery_attempts, 1) - 1 end")
"""The attempts to execute a workflow since it last got a step further, without this one."""

AT_ONCE = SQL("0::bigint")

LATER = SQL("5000::bigint")

HAND_OVER = RELEASE.format(which=ALL, attempts=FORGIVEN, delay=AT_ONCE, version=SAME_VERSION)

PUT_BACK_CLAIMED = RELEASE.format(
    which=CLAIMED, attempts=FORGIVEN, delay=AT_ONCE, version=SAME_VERSION
)

PUT_BACK_STRANGERS = RELEASE.format(
    which=CLAIMED, attempts=FORGIVEN, delay=LATER, version=VERSION_IF_BEGUN
)


SLACK_MS = 10_000
"""Milliseconds from the death of a worker until it is taken over: as long as a freeze may take to
be noticed."""


def _waits(run: str, slack_ms: int = SLACK_MS) -> str:
    """Whether a run was only waiting or asleep when last seen, as a condition.

    A worker records the waits that last (`worker/waits.py`); they mean nothing any more when the
    run was claimed again or has recorded something since. Also without that, a run waits whose
    last row is the time at which a sleep ends, or a `recv` or `get_event`: these number their time
    after themselves, and record themselves when they end. A sleep may have ended between the death
    of a worker and now, for which SLACK stands; one that had ended when the run was claimed is
    none. Of runs that do several things at once, the last row tells nothing.
    """
    return f"""(
        exists (
            select from catalog.waits v
            where v.workflow_uuid = {run}.workflow_uuid and v.owner_xid = {run}.owner_xid
                and v.operations = (
                    select count(*) from dbos.operation_outputs o
                    where o.workflow_uuid = {run}.workflow_uuid
                )
        )
        or not exists (
            select from catalog.waits v
            where v.workflow_uuid = {run}.workflow_uuid and v.several_at_once
        ) and coalesce((
            select case
                when o.function_name <> 'DBOS.sleep' or o.output !~ '^[0-9.]{{1,20}}$' then false
                when abs(o.completed_at_epoch_ms - o.output::numeric * 1000) < 1000 then
                    o.output::numeric * 1000 > greatest(
                        {run}.started_at_epoch_ms,
                        extract(epoch from now()) * 1000 - {slack_ms}
                    )
                else not exists (
                    select from dbos.operation_outputs b
                    where b.workflow_uuid = o.workflow_uuid and b.function_id = o.function_id - 1
                )
            end
            from dbos.operation_outputs o
            where o.workflow_uuid = {run}.workflow_uuid
            order by o.function_id desc
            limit 1
        ), false)
    )"""


LONG_MS = 600_000
"""Milliseconds after which an attempt has shown that its run does not kill its worker at once."""

LONG_ATTEMPTS = 20
"""How many such attempts are forgiven: a run that always kills its worker after ten minutes is
given up, too, after some hours."""

SUSPECT = 2
"""Counted deaths in a row that make a run a suspect. One is what all that a worker executes share
when its machine fails, and they go on at once."""

TURN_MS = 25_000
"""Milliseconds that a suspect waits for its turn; whoever gives turns renews that. Should nobody
do so any more, DBOS enqueues it. KEDA counts what is delayed for less than half a minute."""

RENEW_MS = 15_000
"""Milliseconds before the end of that when it is renewed."""

RESPITE_MS = 5_000
"""Milliseconds from the third death on to the next turn: the worker that was started again can
then take over from the others."""

CLAIM_MS = 10_000
"""Milliseconds that a suspect may need to be claimed in its turn; then others have theirs."""

TRIAL_MS = 2_000
"""Milliseconds of a turn, doubled with each death that several share: who kills its worker later
than that is not given up before its turn is long enough."""

DOUBTS = 2
"""How often a run is not given up since others, though no suspects, were executed beside it. In a
busy fleet that is always so, and it has to be given up all the same."""

TAKE_OVER = SQL(f"""
with executing as materialized (
    select r.workflow_uuid, r.executor_id, {_waits("r")} as waits,
        r.recovery_attempts >= {SUSPECT} and not {_got_further("r")} as suspect
    from dbos.workflow_status r
    where r.status = 'PENDING' and coalesce(r.executor_id, '') = any(%(executors)s)
        and coalesce(r.application_name, %(application)s) = %(application)s
        and not {_waits("r", slack_ms=0)}
),
together as (
    select executor_id, count(*) as runs,
        count(*) filter (where suspect and not waits) as suspects
    from executing
    group by executor_id
),
lost as materialized (
    select s.workflow_uuid, s.recovery_attempts as claims, s.application_version as version,
        coalesce(e.waits, true) as waits,
        {_got_further("s")} as got_further,
        s.started_at_epoch_ms <= extract(epoch from now()) * 1000 - {LONG_MS} as long,
        s.recovery_attempts <= least({SUSPECT} + 1, %(most)s) or t.suspects <= 1 as alone,
        s.recovery_attempts > %(most)s and t.runs > 1 as in_doubt
    from dbos.workflow_status s
    left join executing e using (workflow_uuid)
    left join together t on t.executor_id = e.executor_id
    where s.status = 'PENDING' and coalesce(s.executor_id, '') = any(%(executors)s)
        and coalesce(s.application_name, %(application)s) = %(application)s
    order by s.recovery_attempts desc
    limit 1000
    for no key update of s skip locked
),
known as (
    select lost.*,
        case when claims > 1 then coalesce(k.long_attempts, 0) else 0 end as long_attempts,
        case when claims > 1 then coalesce(k.shared_deaths, 0) else 0 end as shared_deaths,
        case when claims > 1 then coalesce(k.doubtful_deaths, 0) else 0 end as doubtful_deaths
    from lost left join catalog.suspects k using (workflow_uuid)
),
judged as (
    select *, case
        when waits then 'forgiven'
        when got_further then 'first'
        when long and claims > 1 and long_attempts < {LONG_ATTEMPTS} then 'long'
        when claims > {SUSPECT} and not alone then 'shared'
        when claims > {SUSPECT} and in_doubt and doubtful_deaths < {DOUBTS} then 'doubtful'
        else 'counted'
    end as verdict
    from known
),
counted as (
    select *, case
        when verdict = 'forgiven' and got_further then 0
        when verdict = 'forgiven' then greatest(claims, 1) - 1
        when verdict in ('first', 'long') then 1
        when verdict in ('shared', 'doubtful') then
            least(claims, greatest(claims - 1, {SUSPECT} + 1))
        else claims
    end as attempts
    from judged
),
released as (
    select *, verdict = 'counted' and attempts > %(most)s and alone as given_up,
        case
            when verdict = 'counted' and attempts > %(most)s and alone then 0
            when verdict in ('counted', 'shared', 'doubtful') and attempts >= {SUSPECT} then
                {TURN_MS}
            else 0
        end::bigint as delay
    from counted
),
remembered as (
    insert into catalog.suspects as k
        (workflow_uuid, long_attempts, shared_deaths, doubtful_deaths)
    select workflow_uuid, long_attempts + (verdict = 'long')::int,
        shared_deaths + (verdict = 'shared')::int,
        doubtful_deaths + (verdict = 'doubtful')::int
    from released
    where delay > 0 or verdict = 'long'
    on conflict (workflow_uuid) do update set
        long_attempts = excluded.long_attempts,
        shared_deaths = excluded.shared_deaths,
        doubtful_deaths = excluded.doubtful_deaths
)
{PUT_BACK}
""")
"""Put back what the dead were executing, and judge how far each run is to blame for it.

takeover.py tells the rules.
"""

LOOK = f"{DEAD}; select exists(select from catalog.suspects)"
"""The dead, and whether there are suspects: almost never any of both, so they are asked for in one
round trip."""

GIVE_TURNS = f"""
with suspects as materialized (
    select s.*, k.shared_deaths, extract(epoch from now()) * 1000 as now
    from catalog.suspects k
    join dbos.workflow_status s using (workflow_uuid)
    where s.status in ('DELAYED', 'ENQUEUED', 'PENDING') and s.recovery_attempts >= {SUSPECT}
        and coalesce(s.application_name, %(application)s) = %(application)s
),
on_trial as (
    select
    from suspects s
    where s.status = 'ENQUEUED' and s.updated_at > now - {CLAIM_MS}
        or s.status = 'PENDING' and s.recovery_attempts > {SUSPECT}
            and s.started_at_epoch_ms > now - least(
                {LONG_MS}, {TRIAL_MS} * 2 ^ least(s.shared_deaths, 20)
            )
            and not {_got_further("s")} and not {_waits("s")}
),
waiting as (
    select workflow_uuid, recovery_attempts, delay_until_epoch_ms, now, rests,
        row_number() over (order by rests, recovery_attempts, random()) as place,
        count(*) filter (where recovery_attempts = {SUSPECT}) over () as fresh
    from suspects, lateral (
        select recovery_attempts > {SUSPECT} and updated_at > now - {RESPITE_MS} as rests
    ) r
    where status = 'DELAYED' and coalesce(application_version, %(version)s) = %(version)s
),
judged as (
    select *, not rests and not exists (select from on_trial) and (
        place = 1 or recovery_attempts = {SUSPECT} and place <= ceil(fresh / 4.0)
    ) as has_turn
    from waiting
),
next as (
    select * from judged where has_turn or delay_until_epoch_ms < now + {RENEW_MS}
)
update dbos.workflow_status w set
    status = case when has_turn then 'ENQUEUED' else w.status end,
    delay_until_epoch_ms = case when has_turn then now else now + {TURN_MS} end::bigint,
    updated_at = case when has_turn then now::bigint else w.updated_at end
from next
where w.workflow_uuid = next.workflow_uuid and w.status = 'DELAYED'
returning has_turn
"""
"""Let the next suspects be claimed when none has its turn, and have the others wait on.

Those that were twice in a dying worker have their turn in groups, a quarter of them each; whoever
was in a group that died has it alone.
"""

SAY_WHAT_WAITS = """
insert into catalog.waits as v (workflow_uuid, owner_xid, operations)
select s.workflow_uuid, s.owner_xid, (
    select count(*) from dbos.operation_outputs o where o.workflow_uuid = s.workflow_uuid
)
from dbos.workflow_status s
where s.workflow_uuid = any(%(workflows)s) and s.status = 'PENDING'
    and s.executor_id = %(executor)s
on conflict (workflow_uuid) do update set
    owner_xid = excluded.owner_xid, operations = excluded.operations
"""

FORGET_WAITS = """
delete from catalog.waits where workflow_uuid = any(%(workflows)s) and not several_at_once
"""

NO_LONGER_WAITS = text("""
update catalog.waits set owner_xid = null where workflow_uuid = :workflow_id
""")

SAY_SEVERAL_AT_ONCE = text("""
insert into catalog.waits as v (workflow_uuid, several_at_once)
select workflow_uuid, true from dbos.workflow_status where workflow_uuid = :workflow_id
on conflict (workflow_uuid) do update set owner_xid = null, several_at_once = true
""")

LOST = text("""
select n, coalesce(s.status = 'CANCELLED', false)
from unnest(cast(:runs as text[]), cast(:owners as text[])) with ordinality w (run, owner, n)
left join dbos.workflow_status s on s.workflow_uuid = w.run
where s.workflow_uuid is null or s.status = 'CANCELLED'
    or s.owner_xid is distinct from coalesce(w.owner, s.owner_xid)
""")
"""Which of some runs are cancelled, or no longer those of their owners, and whether they are
cancelled."""

CLAIMS = """
select workflow_uuid, coalesce(owner_xid, ''), coalesce(queue_name, ''), name
from dbos.workflow_status
where status = 'PENDING' and executor_id = %(executor)s
    and coalesce(application_name, %(application)s) = %(application)s
"""
"""What this executor executes, as far as Postgres knows."""

REFUSE = """
with refused as (
    update dbos.workflow_status set
        status = 'ERROR',
        serialization = 'portable_json',
        owner_xid = null,
        deduplication_id = null,
        completed_at = (extract(epoch from now()) * 1000)::bigint,
        updated_at = (extract(epoch from now()) * 1000)::bigint
    where workflow_uuid = :workflow and status = 'PENDING' and owner_xid = :owner
    returning workflow_uuid
)
insert into dbos.workflow_output (workflow_uuid, error)
select workflow_uuid, :error from refused
on conflict (workflow_uuid) do update set output = null, error = excluded.error
"""
"""End a run that was just claimed. Its row names the form of its error from now on, which is that
of its result, too; its arguments stay in theirs."""

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
with moved as (
    update dbos.workflow_status set
        application_version = %(current)s,
        status = case when status = 'PENDING' then 'ENQUEUED' else status end,
        owner_xid = null,
        started_at_epoch_ms = null,
        queue_name = coalesce(queue_name, '_dbos_internal_queue'),
        deduplication_id = case when queue_name is not null then deduplication_id end,
        updated_at = (extract(epoch from now()) * 1000)::bigint
    where status in ('PENDING', 'ENQUEUED', 'DELAYED')
        and coalesce(application_name, %(application)s) = %(application)s
        and application_version = %(version)s
        and workflow_uuid <> all(%(stay)s)
    returning workflow_uuid
)
delete from catalog.unreplayable u using moved where moved.workflow_uuid = u.workflow_uuid
"""

FAILED_STEPS = """
select function_id, error from dbos.operation_outputs
where workflow_uuid = %(workflow)s and error is not null and octet_length(error) <= %(bytes)s
order by function_id desc
limit %(steps)s
"""

STATUS = "select status from dbos.workflow_status where workflow_uuid = %(workflow)s"

RECORDED_NAMES = """
select function_id, function_name, completed_at_epoch_ms,
    case when function_name = 'DBOS.sleep' then output end
from dbos.operation_outputs
where workflow_uuid = %(workflow)s
union all
select null, null, null, null
where exists (select from catalog.deliveries where workflow_uuid = %(workflow)s)
    or exists (
        select from dbos.workflow_status
        where workflow_uuid = %(workflow)s and forked_from is not null
    )
"""
"""What is recorded of a run; the last row has no number, and says that there may be an order."""

DELIVERIES = """
with recursive origins as (
    select %(workflow)s::text as workflow_uuid
    union
    select w.forked_from
    from origins o
    join dbos.workflow_status w using (workflow_uuid)
    where w.forked_from is not null
        and not exists (select from catalog.deliveries d where d.workflow_uuid = o.workflow_uuid)
)
select d.place, d.number, d.tickets, d.cancelled_after, d.workflow_uuid <> %(workflow)s as inherited
from origins o
join catalog.deliveries d using (workflow_uuid)
"""
"""The order of a run; as long as it has recorded none, that of the run from which it was forked,
and so on. `union` ends that where a run is, by its row, forked from itself."""

RECORD_DELIVERIES = text("""
with others as (
    delete from catalog.deliveries
    where :are_all_there_is and workflow_uuid = :workflow_id
        and place <> all (cast(:places as integer[]))
)
insert into catalog.deliveries as d (workflow_uuid, place, number, tickets, cancelled_after)
select :workflow_id, place, number, tickets::integer[], cancelled_after
from unnest(
    cast(:places as integer[]), cast(:numbers as integer[]), cast(:tickets as text[]),
    cast(:cancelled_after as real[])
) as r (place, number, tickets, cancelled_after)
on conflict (workflow_uuid, place) do update set
    number = excluded.number, tickets = excluded.tickets, cancelled_after = excluded.cancelled_after
where (d.number, d.tickets, d.cancelled_after)
    is distinct from (excluded.number, excluded.tickets, excluded.cancelled_after)
""")

RECORDED = """
select function_id, function_name, output, error, serialization, child_workflow_id,
    completed_at_epoch_ms as completed_at, null as child_shard_key,
    case when function_name = 'DBOS.sleep' then output end as until
from dbos.operation_outputs
where workflow_uuid = %(workflow)s
order by function_id
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

TRIED_SECONDS = 60
"""How long the claim leaves out a run that did not replay, so that it costs next to nothing."""

MOST_ATTEMPTS = 2**31
"""What no run ever reaches: it is given up long before."""

RECENTLY_TRIED = f"""
    select u.workflow_uuid from catalog.unreplayable u
    where u.tried_at > now() - interval '{TRIED_SECONDS} seconds'
"""

WAITING = """
select count(*)
from dbos.workflow_status
where coalesce(application_name, %(application)s) = %(application)s
    and coalesce(application_version, %(version)s) = %(version)s
    and (
        status = 'ENQUEUED' and queue_name = any(%(queues)s) and workflow_uuid not in (
            select workflow_uuid from catalog.unreplayable where tried_at > '-infinity'
        )
        or status = 'PENDING' and executor_id = %(executor)s
        or status = 'DELAYED' and queue_name = any(%(queues)s) and (
            recovery_attempts > 0
            or delay_until_epoch_ms <= (extract(epoch from now()) * 1000)::bigint
        )
    )
"""
"""What this executor has, or would take from the queues, now or when it is begun again apart."""

FULL = text(f"""
    select queue
    from unnest(cast(:queues as text[])) queue
    where (
        select true from dbos.workflow_status
        where queue_name = queue and status = 'ENQUEUED'
            and workflow_uuid not in ({RECENTLY_TRIED})
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
    and workflow_uuid not in (select workflow_uuid from catalog.unreplayable)
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

HAS_CATALOG = text("select to_regclass('catalog.unreplayable') is not null")

NOT_HELD = text(f"""
    (dbos.workflow_status.status <> 'ENQUEUED' or dbos.workflow_status.workflow_uuid not in (
        {RECENTLY_TRIED}
    ) and coalesce(dbos.workflow_status.recovery_attempts, 0) < {MOST_ATTEMPTS})
""")
"""A condition of DBOS's claims. `not in` is what Postgres looks up in memory for each row, and
does not join; so the order and the limit of the claim still come from an index. A row with more
attempts than can be counted would fail the claim of all others."""

PUT_ASIDE = text("""
    with released as (
        update dbos.workflow_status set
            status = 'ENQUEUED', owner_xid = null, started_at_epoch_ms = null,
            queue_name = coalesce(queue_name, '_dbos_internal_queue'),
            deduplication_id = case when queue_name is not null then deduplication_id end,
            recovery_attempts = greatest(recovery_attempts - 1, 0),
            updated_at = (extract(epoch from now()) * 1000)::bigint
        where workflow_uuid = :workflow_id and owner_xid = :owner and status = 'PENDING'
        returning workflow_uuid, name, application_version
    ),
    held as (
        insert into catalog.unreplayable as u (
            workflow_uuid, reason, function_id, recorded_name, expected_name,
            application_version, tried_at
        )
        select workflow_uuid, 'code_changed', :function_id, :recorded, :expected,
            application_version, now()
        from released
        on conflict (workflow_uuid) do update set
            function_id = excluded.function_id,
            recorded_name = excluded.recorded_name,
            expected_name = excluded.expected_name,
            application_version = excluded.application_version,
            tried_at = excluded.tried_at
        returning xmax = 0 as new
    )
    select released.name, held.new from released, held
""")

TRY_AGAIN = """
update catalog.unreplayable u set tried_at = '-infinity'
from dbos.workflow_status s
where s.workflow_uuid = u.workflow_uuid and s.status = 'ENQUEUED'
    and coalesce(s.application_name, %(application)s) = %(application)s
    and s.application_version = %(version)s
"""

HELD = """
select count(*)
from catalog.unreplayable u
join dbos.workflow_status s using (workflow_uuid)
where s.status = 'ENQUEUED'
    and coalesce(s.application_name, %(application)s) = %(application)s
    and s.application_version = %(version)s
"""

UNREPLAYABLE = """
select s.queue_name, s.name, count(*)
from catalog.unreplayable u
join dbos.workflow_status s using (workflow_uuid)
where s.status = 'ENQUEUED' and coalesce(s.application_name, %(application)s) = %(application)s
group by s.queue_name, s.name
"""

FORGET = """
with ended as (
    select workflow_uuid
    from dbos.workflow_status
    where status not in ('ENQUEUED', 'DELAYED', 'PENDING') and workflow_uuid in (
        select workflow_uuid from catalog.suspects
        union all select workflow_uuid from catalog.waits
        union all select workflow_uuid from catalog.unreplayable
    )
),
no_suspects as (
    delete from catalog.suspects k using ended where k.workflow_uuid = ended.workflow_uuid
),
no_waits as (
    delete from catalog.waits v using ended where v.workflow_uuid = ended.workflow_uuid
)
delete from catalog.unreplayable u
using dbos.workflow_status s
where s.workflow_uuid = u.workflow_uuid and (
    s.status not in ('ENQUEUED', 'DELAYED', 'PENDING')
    or s.status = 'PENDING'
        and s.started_at_epoch_ms < (extract(epoch from now()) * 1000)::bigint - 10000
)
"""
"""What the catalog knows of runs means nothing once they have ended. A run that has been executed
for ten seconds has replayed; if it has not, it is held again."""

CHANGED_SOURCES = """
select w.name, (
    select count(*) from dbos.workflow_status s
    where s.name = w.name and s.status in ('PENDING', 'ENQUEUED', 'DELAYED')
        and coalesce(s.application_name, %(application)s) = %(application)s
        and s.application_version = %(version)s
        and exists (
            select from dbos.operation_outputs o where o.workflow_uuid = s.workflow_uuid
        )
) as begun
from catalog.workflows w
join unnest(%(names)s::text[], %(digests)s::text[]) as here (name, digest) using (name)
where w.application = %(application)s and w.application_version = %(version)s
    and w.source_digest <> here.digest
order by w.name
"""
