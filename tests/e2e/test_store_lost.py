"""The control store is lost: the target knows what it holds, and the file says the rest."""

from tests.e2e.conftest import Pipe, wait_until


def test_a_pipeline_goes_on_without_its_old_control_store(pipe: Pipe) -> None:
    pipe.run("create table t (id int primary key, v int)", "insert into t values (1, 0)")
    pipe.configure()
    pipe.start()
    pipe.run("update t set v = 1")
    pipe.arrives("select v from t", [(1,)])
    before = pipe.rows("select generation, log_topic from _cdc.pipeline")
    for file in pipe.home.glob("control.db*"):
        file.unlink()
    wait_until(lambda: not pipe.processes("agent") and not pipe.processes("consume"), "agent and consumer to end")
    pipe.run("insert into t values (2, 2)")
    pipe.configure()
    pipe.start()
    pipe.run("update t set v = 3 where id = 1")
    pipe.arrives("select id, v from t order by id", [(1, 3), (2, 2)])
    assert pipe.rows("select generation, log_topic from _cdc.pipeline") == before  # nothing was copied again
    pipe.equal()
