"""What a table has for its readers, and one that takes its place must have as well."""

import psycopg
from psycopg import sql

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.databases.postgres import ddl


def inherit(conn: psycopg.Connection, new: MappedTable, old: MappedTable) -> None:
    """What the table has beside columns and indexes: owner, grants, comment, storage parameters."""
    name = ddl.table_name(old).as_string(conn)
    row = conn.execute(
        "select pg_get_userbyid(relowner), obj_description(oid, 'pg_class'), reloptions from pg_class "
        "where oid = %s::regclass",
        [name],
    ).fetchone()
    assert row is not None
    owner, comment, options = row
    table = ddl.table_name(new)
    if comment is not None:
        conn.execute(sql.SQL("comment on table {} is {}").format(table, sql.Literal(comment)))
    for option in options or ():
        key, _, value = option.partition("=")
        conn.execute(sql.SQL("alter table {} set ({} = {})").format(table, sql.Identifier(key), sql.Literal(value)))
    grants = conn.execute(
        "select case when grantee = 0 then null else pg_get_userbyid(grantee) end, privilege_type, is_grantable "
        "from pg_class, aclexplode(relacl) where oid = %s::regclass and grantee <> relowner",
        [name],
    ).fetchall()
    for grantee, privilege, grantable in grants:
        conn.execute(
            sql.SQL("grant {} on table {} to {}{}").format(
                sql.SQL(privilege),  # the server's own word
                table,
                sql.SQL("public") if grantee is None else sql.Identifier(grantee),
                sql.SQL(" with grant option" if grantable else ""),
            )
        )
    conn.execute(sql.SQL("alter table {} owner to {}").format(table, sql.Identifier(owner)))
