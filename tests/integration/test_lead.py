"""Who may write to the target: the lead goes to the host that has the pipeline, and from nobody else's session."""

import logging
import threading
from collections.abc import Callable, Iterator

import psycopg
import pytest

from cdc_pipelines.replication.databases.postgres.connection import connect
from cdc_pipelines.replication.errors import RetryableError
from cdc_pipelines.replication.pipeline import Target
from cdc_pipelines.replication.stream import lead
from cdc_pipelines.stack.settings import StackSettings

Open = Callable[[str], psycopg.Connection]
LOG = logging.getLogger("test")


@pytest.fixture
def session(stack: StackSettings, target_database: str) -> Iterator[Open]:
    """Open the session of a consumer of `shop` on a host of that name."""
    spec = Target(
        type="postgres", host="127.0.0.1", port="${env:CDC_STACK_POSTGRES_PORT}", database=target_database,
        user="cdc", password="${env:CDC_STACK_POSTGRES_PASSWORD}",
    )
    opened: list[psycopg.Connection] = []

    def open_one(host: str) -> psycopg.Connection:
        opened.append(connect(spec, purpose=lead.session_purpose("shop", host)))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


def take(conn: psycopg.Connection, *, holds: bool) -> None:
    lead.take_lead(conn, "shop", holds=lambda: holds, stop=threading.Event(), log=LOG)


def alive(conn: psycopg.Connection) -> bool:
    try:
        conn.execute("select 1")
        conn.commit()
    except psycopg.OperationalError:
        return False
    return True


def test_the_host_that_has_the_pipeline_takes_the_lead_from_another(session: Open) -> None:
    old, new = session("one"), session("two")
    take(old, holds=True)
    old.execute("create table t (n int)")
    old.commit()
    old.execute("insert into t values (1)")  # not committed
    take(new, holds=True)
    assert not alive(old)
    assert new.execute("select count(*) from t").fetchone() == (0,)


@pytest.mark.parametrize(("host", "holds"), [("two", False), ("one", True)], ids=["has it not", "same host"])
def test_the_lead_stays(session: Open, monkeypatch: pytest.MonkeyPatch, host: str, holds: bool) -> None:
    monkeypatch.setattr(lead, "PATIENCE_S", 1)
    old, new = session("one"), session(host)
    take(old, holds=True)
    with pytest.raises(RetryableError, match="another consumer of pipeline shop holds the lead"):
        take(new, holds=holds)
    assert alive(old)
    old.close()
    take(new, holds=holds)


def test_the_lead_of_another_pipeline_is_let_be(session: Open) -> None:
    other, new = session("one"), session("two")
    lead.take_lead(other, "another", holds=lambda: True, stop=threading.Event(), log=LOG)
    take(new, holds=True)
    assert alive(other)


def test_the_server_notices_a_host_that_is_gone_within_a_minute(session: Open) -> None:
    words = "select current_setting('tcp_keepalives_idle')::int + current_setting('tcp_keepalives_interval')::int "
    words += "* current_setting('tcp_keepalives_count')::int"
    (seconds,) = session("one").execute(words).fetchone() or (0,)  # type: ignore[arg-type]
    assert 0 < seconds < 60


def test_sessions_of_two_hosts_have_two_names_of_one_length_at_most() -> None:
    purposes = {lead.session_purpose("p" * 40, host) for host in ("db-1", "h" * 60 + "1", "h" * 60 + "2")}
    assert len(purposes) == 3
    assert all(len(f"cdc:{purpose}") <= 63 for purpose in purposes)
