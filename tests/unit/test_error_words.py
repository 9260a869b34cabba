"""What an error says: which pipeline its commands are for, also on the other side of a process's border."""

import pickle

from cdc_pipelines.replication.errors import ResyncRequiredError, TornLogError, named


def test_commands_name_the_pipeline() -> None:
    error = TornLogError("a hole; see `cdc status NAME`", "run `cdc start NAME --force-resync`, not ${env:NAME}.")
    error.name_pipeline("shop")
    assert error.next_step == "run `cdc start shop --force-resync`, not ${env:NAME}."
    assert str(error) == f"a hole; see `cdc status shop`\n  Next step: {error.next_step}"
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.next_step) == (str(error), error.next_step)
    assert isinstance(again, ResyncRequiredError)
    assert named("`cdc configure FILE`, then `cdc start NAME`", "shop") == "`cdc configure FILE`, then `cdc start shop`"
