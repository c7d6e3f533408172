"""What the roles of workers and functions may do in the database, and may no longer.

Whoever has TRIGGER on a table has code of his own run as whoever writes there, and the owner
writes when he migrates; with REFERENCES, a cast of one's own does. Releases before have granted
both to the worker's role. So both are withdrawn, and then it is looked what they were used for.
"""

from collections.abc import Sequence

from psycopg.sql import SQL, Identifier

from .database import Connection
from .errors import CodePlanted

FIX_PATH = "set search_path = pg_catalog, pg_temp"
"""Until Postgres 15, anybody may create functions in `public`, and they would be found there."""

WITHDRAW = """
do $$
declare
    at_risk constant text := 'trigger, truncate, references';
    found record;
begin
    for found in
        select distinct c.oid::regclass as relation, a.grantee
        from pg_class c, aclexplode(c.relacl) a
        where c.relnamespace = any(array[to_regnamespace('dbos'), to_regnamespace('catalog')])
            and c.relkind in ('r', 'p', 'v', 'm', 'f') and a.grantee <> c.relowner
            and a.privilege_type in ('TRIGGER', 'TRUNCATE', 'REFERENCES')
    loop
        execute format(
            'revoke %s on table %s from %s cascade', at_risk, found.relation,
            case found.grantee when 0 then 'public' else found.grantee::regrole::text end
        );
    end loop;
    for found in
        select distinct d.defaclnamespace::regnamespace as schema, d.defaclrole::regrole as owner,
            a.grantee
        from pg_default_acl d, aclexplode(d.defaclacl) a
        where d.defaclnamespace = any(array[to_regnamespace('dbos'), to_regnamespace('catalog')])
            and d.defaclobjtype = 'r' and a.grantee <> d.defaclrole
            and pg_has_role(d.defaclrole, 'usage')
            and a.privilege_type in ('TRIGGER', 'TRUNCATE', 'REFERENCES')
    loop
        execute format(
            'alter default privileges for role %s in schema %s revoke %s on tables from %s',
            found.owner, found.schema, at_risk,
            case found.grantee when 0 then 'public' else found.grantee::regrole::text end
        );
    end loop;
end $$
"""

WAIT_FOR_DDL = """
do $$
declare
    relation regclass;
begin
    for relation in
        select c.oid::regclass from pg_class c
        where c.relnamespace = any(array[to_regnamespace('dbos'), to_regnamespace('catalog')])
            and c.relkind in ('r', 'p')
    loop
        execute format('lock table %s in row exclusive mode', relation);
        commit;
    end loop;
end $$
"""
"""A transaction that has created a trigger may still be open. This lock waits for it, keeps nobody
else waiting, and is held for one table at a time."""

PLANTED = """
with ours as (
    select c.oid, c.relowner, c.relkind, c.oid::regclass as relation from pg_class c
    where c.relnamespace = any(array[to_regnamespace('dbos'), to_regnamespace('catalog')])
),
strangers as (
    select r.oid from pg_roles r where r.rolname = any(%(roles)s) and r.rolname <> current_user
),
dbos (relation, trigger, function) as (values
    ('notifications', 'dbos_notifications_trigger', 'notifications_function'),
    ('workflow_events', 'dbos_workflow_events_trigger', 'workflow_events_function'),
    ('streams', 'dbos_streams_trigger', 'streams_function')
)
select format('the trigger %%I on %%s', t.tgname, o.relation),
    format('drop trigger %%I on %%s', t.tgname, o.relation)
from pg_trigger t join ours o on o.oid = t.tgrelid
where not t.tgisinternal and not exists (
    select from dbos d
    where t.tgrelid = to_regclass('dbos.' || d.relation) and t.tgname = d.trigger
        and t.tgfoid = to_regproc('dbos.' || d.function) and t.tgqual is null
)
union all
select format('the rule %%I on %%s', r.rulename, o.relation),
    format('drop rule %%I on %%s', r.rulename, o.relation)
from pg_rewrite r join ours o on o.oid = r.ev_class
where o.relkind in ('r', 'p', 'f')
union all
select format('the foreign key %%I of %%s', k.conname, c.oid::regclass),
    format('alter table %%s drop constraint %%I', c.oid::regclass, k.conname)
from pg_constraint k join ours o on o.oid = k.confrelid join pg_class c on c.oid = k.conrelid
where k.contype = 'f' and c.relowner <> o.relowner and c.oid not in (select oid from ours)
union all
select format('%%s, which %%s owns,', o.relation, o.relowner::regrole),
    format('alter table %%s owner to %%I', o.relation, current_user)
from ours o
where o.relkind in ('r', 'p', 'v', 'm', 'f') and o.relowner in (select oid from strangers)
union all
select format('the function %%s, which %%s owns,', p.oid::regprocedure, p.proowner::regrole),
    format('drop function %%s', p.oid::regprocedure)
from pg_proc p
where p.pronamespace = any(array[to_regnamespace('dbos'), to_regnamespace('catalog')])
    and p.proowner in (select oid from strangers)
limit 1
"""
"""What would run as the owner in a migration, and how to get rid of it. A condition of a trigger
runs code, too; a foreign key may cast with a function of its table's owner."""

ROWS = SQL("""
    revoke create on schema dbos, catalog from {role};
    grant usage on schema dbos to {role};
    revoke all on all tables in schema dbos from {role};
    grant select, insert, update, delete on all tables in schema dbos to {role};
    revoke insert, update, delete on dbos.dbos_migrations from {role};
    revoke all on all sequences in schema dbos from {role};
    grant usage, select, update on all sequences in schema dbos to {role};
    grant execute on all functions in schema dbos to {role};
    alter default privileges in schema dbos revoke all on tables from {role};
    alter default privileges in schema dbos
        grant select, insert, update, delete on tables to {role};
    alter default privileges in schema dbos revoke all on sequences from {role};
    alter default privileges in schema dbos grant usage, select, update on sequences to {role};
""")
"""In the schema of DBOS, a worker may do everything with rows, and nothing else. The version of the
schema is the owner's."""

INSERTS = SQL("revoke insert on dbos.workflow_status from {role}")


def withdraw(connection: Connection) -> None:
    """Take from all but owners what would let them run code as the owner. The connection is in no
    transaction."""
    _wait_for_ddl(connection)
    connection.execute(WITHDRAW)


def refuse_planted_code(connection: Connection, roles: Sequence[str]) -> None:
    """Raise CodePlanted if something in the schemas would run code that is not known; `roles` are
    those that own nothing there. The connection is in no transaction."""
    _wait_for_ddl(connection)
    planted = connection.execute(PLANTED, {"roles": list(roles)}).fetchone()
    if planted:
        what, remedy = planted
        raise CodePlanted(what=what, remedy=remedy)


def _wait_for_ddl(connection: Connection) -> None:
    connection.execute("set lock_timeout = '10s'")
    connection.execute(WAIT_FOR_DDL)
    connection.execute("reset lock_timeout")


def grant_rows(connection: Connection, role: str) -> None:
    """Let a role do with the rows of DBOS's tables what a worker does."""
    if not _is_own(connection, role):  # An owner would take from himself what he needs to migrate.
        connection.execute(ROWS.format(role=Identifier(role)))


def withdraw_inserts(connection: Connection, role: str) -> None:
    """Take from a role what releases before have granted: to insert all columns of a run."""
    if not _is_own(connection, role):
        connection.execute(INSERTS.format(role=Identifier(role)))


def _is_own(connection: Connection, role: str) -> bool:
    return connection.execute("select current_user").fetchone() == (role,)
