"""What can't be followed exactly stops the pipeline before it does harm, and says what to do."""

from tests.e2e.conftest import Pipe, wait_until


def test_an_xa_transaction_stops_the_stream_before_its_rows(pipe: Pipe) -> None:
    """Its rows are in the log where it is prepared; that it is committed later, or rolled back, is not told."""
    pipe.run("create table t (id int primary key, v int)", "create table k (n int)", "insert into t values (1, 0)")
    pipe.configure()
    pipe.start()
    pipe.run("insert into t values (2, 0)")
    pipe.arrives("select id from t order by id", [(1,), (2,)])
    pipe.run("xa start 'mine'", "insert into k values (1), (2), (3)", "update t set v = 5", "xa end 'mine'")
    pipe.run("xa prepare 'mine'")
    try:
        status = wait_until(lambda: (s := pipe.status())["overall"] == "failed" and s, "the pipeline to stop")
        assert "rows of an XA transaction" in status["config"]["message"]
        assert "force-resync" in status["config"]["message"]
        assert pipe.rows("select id, v from t order by id") == [(1, 0), (2, 0)]
        assert pipe.rows("select * from k") == []
    finally:
        pipe.run("xa commit 'mine'")
    pipe.start("--force-resync")
    pipe.run("insert into k values (4)")
    pipe.arrives("select n from k order by n", [(1,), (2,), (3,), (4,)])
    pipe.equal()
