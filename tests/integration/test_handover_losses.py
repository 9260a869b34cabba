"""Something is lost behind our back, offsets, history, logs: no gap, or a resync is asked for."""

import time
from collections.abc import Callable

import pytest

from cdc_pipelines.replication.databases.mysql.source import MySqlSource
from cdc_pipelines.replication.errors import ResyncRequiredError
from cdc_pipelines.replication.pipeline import Source
from cdc_pipelines.replication.stream import connector_life
from cdc_pipelines.stack.settings import StackSettings
from tests.conftest import mysql_connection
from tests.integration.conftest import SourceServer
from tests.integration.handover_bench import Bench, bench, distinct, ids, make_bench
from tests.integration.own_servers import own_server
from tests.integration.writers import ONLY_MYSQL

__all__ = ["bench", "make_bench"]  # fixtures


def test_deleted_behind_our_back_it_starts_again_from_the_applied_position(bench: Bench) -> None:
    bench.hand_over()
    bench.server.run("insert into item values (4, 'applied', 1)")
    bench.rows_until(4)
    applied = bench.source.position()  # of a consumer that has applied all of this
    bench.server.run("insert into item values (5, 'not applied', 1)")
    bench.rows_until(5)
    bench.client.delete(bench.name)  # its offsets stay behind, and must not be taken up
    bench.server.run("insert into item values (6, 'while gone', 1)")
    bench.position = applied
    assert not bench.hand_over().kept
    bench.server.run("insert into item values (7, 'last', 1)")
    rows = bench.rows_until(7)
    # The deleted one may have read the next row before it ended.
    whole = [2, 3, 4, 5, 5, 6, 7], [2, 3, 4, 5, 6, 5, 6, 7]
    assert ids(rows) in whole, "what was not applied comes again, as a whole"
    assert distinct(rows) == [2, 3, 4, 5, 6, 7]


@ONLY_MYSQL
def test_offsets_lost_behind_our_back_do_not_start_it_at_now(bench: Bench) -> None:
    bench.hand_over()
    bench.server.run("insert into item values (4, 'applied', 1)")
    bench.rows_until(4)
    applied = bench.source.position()
    connector_life.stop(bench.client, bench.name)
    bench.topics.delete([bench.client.config(bench.name)["offsets.storage.topic"]])  # type: ignore[index]
    bench.server.run("insert into item values (5, 'would be lost', 1)")
    bench.position = applied
    assert not bench.hand_over().kept
    bench.server.run("insert into item values (6, 'last', 1)")
    assert distinct(bench.rows_until(6)) == [2, 3, 4, 5, 6]


@ONLY_MYSQL
def test_a_lost_schema_history_is_made_anew(bench: Bench) -> None:
    bench.hand_over()
    bench.server.run("insert into item values (4, 'applied', 1)")
    bench.rows_until(4)
    bench.position = bench.source.position()
    connector_life.stop(bench.client, bench.name)
    bench.topics.delete([bench.client.config(bench.name)["schema.history.internal.kafka.topic"]])  # type: ignore[index]
    bench.server.run("insert into item values (5, 'meanwhile', 1)")
    bench.hand_over()
    bench.server.run("insert into item values (6, 'last', 1)")
    assert distinct(bench.rows_until(6)) == [2, 3, 4, 5, 6]


@ONLY_MYSQL
def test_the_log_must_be_there_and_as_we_made_it(bench: Bench) -> None:
    bench.topics.delete([bench.log_topic])
    with pytest.raises(ResyncRequiredError, match="does not exist"):
        bench.hand_over()


def purge(server: SourceServer) -> None:
    """Leave only the newest file of the log. MariaDB keeps one until InnoDB has flushed what is in it."""
    newest = server.run("flush binary logs", "show binary logs")[-1][0]
    ends = time.monotonic() + 30
    while server.run(f"purge binary logs to '{newest}'", "show binary logs")[0][0] != newest:
        assert time.monotonic() < ends
        time.sleep(0.2)


@pytest.mark.parametrize("flavor", ["mysql", "mariadb"])
def test_a_purged_log_asks_for_a_resync(
    flavor: str, stack: StackSettings, make_bench: Callable[..., Bench]
) -> None:
    settings = ["--gtid-mode=ON", "--enforce-gtid-consistency=ON"] if flavor == "mysql" else []
    with own_server(flavor, *settings) as access:
        with mysql_connection(access) as connection, connection.cursor() as cursor:
            cursor.execute("create database shop")
            cursor.execute("create user conn@'%%' identified by %s", [getattr(stack, flavor).password])
            cursor.execute("grant all on *.* to conn@'%'")
            cursor.execute("create table shop.item (id int primary key)")
        source = {"type": flavor, "host": "127.0.0.1", "port": access.port, "database": "shop", "user": "conn",
                  "password": f"${{env:CDC_STACK_{flavor.upper()}_PASSWORD}}"}
        server = SourceServer(flavor, access, "shop", MySqlSource(Source.model_validate(source)))
        bench = make_bench(server)
        bench.copied()
        server.run("insert into item values (2)", "flush binary logs", "insert into item values (3)")
        purge(server)
        with pytest.raises(ResyncRequiredError, match="purged"):
            bench.hand_over()
        assert bench.client.config(bench.name) is None

        # Purged while the connector is stopped: it says so too, instead of going on behind the gap.
        bench.generation += 1
        bench.copied()
        bench.hand_over()
        connector_life.stop(bench.client, bench.name)
        server.run("insert into item values (4)", "flush binary logs", "insert into item values (5)")
        purge(server)
        with pytest.raises(ResyncRequiredError, match="purged"):
            bench.hand_over()

        # Reset, and grown beyond the connector's old place: Debezium itself would go on from there.
        bench.generation += 1
        bench.copied()
        bench.hand_over()
        connector_life.stop(bench.client, bench.name)
        server.run("reset binary logs and gtids" if flavor == "mysql" else "reset master")
        server.run(*[f"insert into item values ({n})" for n in range(100, 200)])
        with pytest.raises(ResyncRequiredError, match="reset"):
            bench.hand_over()
        connector_life.teardown_connector(bench.client, bench.topics, bench.pipeline)
        server.source.close()
        bench.source.close()
