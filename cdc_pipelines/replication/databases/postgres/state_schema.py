"""The schema `_cdc`: what the target knows about itself. Made on first use, by whoever comes first."""

import psycopg

from cdc_pipelines.replication.errors import ConfigurationError, IntegrityError

FORMAT = 4

_LOCK = 0x5F636463  # "_cdc": the advisory lock under which the schema is made

_TABLES = """
create table _cdc.format (version int not null);

-- Epochs are never used twice, also when a pipeline was torn down and made again: an old process must not meet its own.
create sequence _cdc.epoch;

create table _cdc.pipeline (
    name text primary key,
    epoch bigint not null,
    generation bigint not null,
    source_identity text not null,
    log_topic text,
    log_topic_id text,
    history_attempt int not null default 0,
    created_at timestamptz not null default now()
);

create table _cdc.log_offset (
    pipeline text not null,
    lane text not null default 'main',
    next_offset bigint not null,
    position text not null,
    commit_ms bigint,
    transactions bigint not null default 0,
    events bigint not null default 0,
    updated_at timestamptz not null default now(),
    primary key (pipeline, lane)
);

create table _cdc.chunk (
    pipeline text not null,
    table_name text not null,
    ordinal int not null,
    shard int not null default 0,
    lower_key text,
    upper_key text,
    state text not null check (state in ('planned', 'done')),
    rows_estimate bigint not null,
    rows bigint not null default 0,
    bytes bigint not null default 0,
    seconds double precision not null default 0,
    position text,
    fingerprint text,
    copied_at timestamptz,
    primary key (pipeline, table_name, ordinal)
);

create table _cdc.mapped_table (
    pipeline text not null,
    table_name text not null,
    target_schema text not null,
    target_name text not null,
    mapping text not null,
    log_columns text,
    inserts bigint not null default 0,
    updates bigint not null default 0,
    deletes bigint not null default 0,
    truncates bigint not null default 0,
    last_change_ms bigint,
    primary key (pipeline, table_name)
);

create table _cdc.claim (
    target_schema text not null,
    target_name text not null,
    pipeline text not null,
    primary key (target_schema, target_name)
);

create table _cdc.barrier (
    pipeline text primary key,
    id text not null,
    state text not null check (state in ('requested', 'parked', 'go', 'reached', 'released')),
    position text,
    end_offset bigint,
    expires_at timestamptz not null
);

create table _cdc.verified (
    pipeline text not null,
    table_name text not null,
    position text,
    verified_at timestamptz not null default now(),
    rows bigint not null,
    differences bigint not null,
    primary key (pipeline, table_name)
);
"""

# From format to format. What an older process does meanwhile must still work.
_UPGRADES = {
    1: """
alter table _cdc.verified
    add column complete boolean not null default true,
    add column verified_by text not null default 'command',
    add column repaired bigint not null default 0;

-- How far the background's comparison of a table has come.
create table _cdc.verify_walk (
    pipeline text not null,
    table_name text not null,
    next_key text not null,
    position text not null,
    rows bigint not null,
    differences bigint not null,
    primary key (pipeline, table_name)
);
""",
    2: """
-- A detached table stands apart from the stream: from `since_offset` on nothing of it is applied, only counted.
alter table _cdc.mapped_table
    add column state text not null default 'live' check (state in ('live', 'detached')),
    add column kind text check (kind in ('quarantined', 'changed', 'lane')),
    add column reason text,
    add column since_position text,
    add column since_offset bigint,
    add column since timestamptz,
    add column skipped bigint not null default 0,
    add column relearn boolean not null default false,
    add column revision int not null default 0,
    add check ((state = 'live') = (kind is null));

-- Changes that the target refused. Images are text, as the log has them: jsonb can't hold the character NUL.
create table _cdc.dead_letter (
    id bigint generated always as identity primary key,
    pipeline text not null,
    table_name text not null,
    op text not null,
    key text,
    before text,
    after text,
    position text,
    commit_ms bigint,
    log_offset bigint,
    sqlstate text,
    error text not null,
    state text not null default 'held' check (state in ('held', 'applied', 'skipped')),
    note text,
    created_at timestamptz not null default clock_timestamp(),
    settled_at timestamptz
);
create index on _cdc.dead_letter (pipeline, state);

-- Tables on a way of their own; each has a whole state beside, under the name <pipeline>/<table>.
create table _cdc.lane (
    pipeline text not null,
    table_name text not null,
    target_schema text not null,
    target_name text not null,
    shadow text not null,
    phase text not null check (phase in ('copying', 'following', 'detached', 'merged')),
    reason text not null,
    started_at timestamptz not null default clock_timestamp(),
    beat_at timestamptz not null default clock_timestamp(),
    message text not null default '',
    primary key (pipeline, table_name)
);

create table _cdc.schema_change (
    pipeline text not null,
    number bigint generated always as identity,
    table_name text not null,
    kind text not null,
    done text not null,
    what text not null,
    statement text not null,
    place text not null,
    digest text not null,
    source_ms bigint,
    at timestamptz not null default clock_timestamp(),
    primary key (pipeline, number),
    unique (pipeline, place, digest, table_name, kind, what)
);
""",
    3: """
-- Indexes, constraints and the like that were made as the source has them, and those that were not. They stay ours,
-- like a claim, when the pipeline is torn down and its tables stay.
create table _cdc.carried (
    pipeline text not null,
    table_name text not null,
    kind text not null check (kind in ('index', 'check', 'foreign_key', 'identity', 'comment')),
    name text not null,
    target_schema text not null,
    target_table text not null,
    target_name text not null,
    definition text not null,
    parent text not null default '',
    state text not null check (state in ('making', 'made', 'waiting', 'given_up', 'not_made')),
    why text not null default '',
    at timestamptz not null default clock_timestamp(),
    primary key (pipeline, table_name, kind, name)
);
""",
}


def schema_exists(conn: psycopg.Connection) -> bool:
    """Whether `_cdc` is there; an older format is brought up to this version's. See `ensure_schema` for errors."""
    found = found_format(conn)
    if found is not None and found < FORMAT:
        ensure_schema(conn)
    return found is not None


def found_format(conn: psycopg.Connection) -> int | None:
    """The format of `_cdc` on the target, None where there is none.

    Raises ConfigurationError where the format is newer than this version's, or the user may not read it.
    """
    try:
        with conn.transaction():
            # Asked of the catalog: to_regclass() may answer from a cache that a neighbour's commit has not reached.
            there = conn.execute(
                "select 1 from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
                "where n.nspname = '_cdc' and c.relname = 'format'"
            ).fetchone()
            if there is None:
                return None
            found = conn.execute("select version from _cdc.format").fetchone()
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConfigurationError(
            f"the target's schema _cdc belongs to another user than {conn.info.user}",
            "use the user that made it, or have its owner run: "
            f'GRANT ALL ON SCHEMA _cdc TO "{conn.info.user}"; GRANT ALL ON ALL TABLES IN SCHEMA _cdc TO '
            f'"{conn.info.user}"; GRANT ALL ON ALL SEQUENCES IN SCHEMA _cdc TO "{conn.info.user}";',
        ) from error
    if found is None:
        raise IntegrityError(
            "_cdc.format on the target is empty", "restore it from a backup, or drop the schema _cdc and copy again."
        )
    version = int(found[0])
    if version > FORMAT or version + len(_UPGRADES) < FORMAT:
        raise ConfigurationError(
            f"the target's schema _cdc has format {version}; this version of cdc-pipelines knows {FORMAT}",
            "use the version of cdc-pipelines that wrote it, or a newer one.",
        )
    return version


def ensure_schema(conn: psycopg.Connection) -> None:
    """Make `_cdc` where it is missing or of an older format.

    Part of the caller's transaction if one is open, else committed at once. Raises ConfigurationError where the user
    may not do that, or the format is newer than this version's.
    """
    with conn.transaction():
        if found_format(conn) == FORMAT:
            return
        conn.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
        found = found_format(conn)
        if found == FORMAT:  # somebody else was first
            return
        try:
            with conn.transaction():
                # IF NOT EXISTS would ask for the right to create schemas where an administrator made this one.
                if found is None and not _has_schema(conn):
                    conn.execute("create schema _cdc")
                if found is None:
                    conn.execute(_TABLES)
                for version in range(found or 1, FORMAT):
                    conn.execute(_UPGRADES[version].encode())
        except psycopg.errors.InsufficientPrivilege as error:
            user, database = conn.info.user, conn.info.dbname
            raise ConfigurationError(
                f"user {user} may not create the schema _cdc in the target database {database}",
                f'run as its owner: GRANT CREATE ON DATABASE "{database}" TO "{user}"; '
                f'(or: CREATE SCHEMA _cdc AUTHORIZATION "{user}";)',
            ) from error
        if found is None:
            conn.execute("select setval('_cdc.epoch', extract(epoch from clock_timestamp())::bigint)")
        conn.execute("delete from _cdc.format")
        conn.execute("insert into _cdc.format values (%s)", [FORMAT])


def _has_schema(conn: psycopg.Connection) -> bool:
    row = conn.execute("select 1 from pg_catalog.pg_namespace where nspname = '_cdc'").fetchone()
    return row is not None
