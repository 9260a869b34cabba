"""Which database a target is: two of them must never share a connector, whatever their pipelines are called."""

import psycopg


def target_identity(conn: psycopg.Connection) -> str:
    """The cluster's system identifier and the database's number in it; the address where the former may not be read.

    A copy of a cluster, file by file, has the same one; a dump that was restored elsewhere another one.
    """
    try:
        with conn.transaction():
            row = conn.execute(
                "select s.system_identifier, d.oid from pg_catalog.pg_control_system() s, pg_catalog.pg_database d "
                "where d.datname = current_database()"
            ).fetchone()
            assert row is not None
            return f"postgres:{row[0]}/{row[1]}"
    except psycopg.errors.InsufficientPrivilege:
        info = conn.info
        return f"postgres:{info.host}:{info.port}/{info.dbname}"
