"""A second look where snapshots of the source are not exact.

With `source.locking: none` MySQL gives no position for a snapshot: it may hold some transactions that came after the
one that was read just before. Their rows would count as differences. A difference that is one is there again at
another position; what was only in flight is not.
"""

from typing import TYPE_CHECKING

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.databases.checksum import Salt
from cdc_pipelines.replication.verify.barrier import meet
from cdc_pipelines.replication.verify.compare import Compared
from cdc_pipelines.replication.verify.tables import Images, look_again

if TYPE_CHECKING:
    from cdc_pipelines.replication.operations.runtime import Runtime

_LOOKS = 6
_MOST = 5000  # rows that differ: so many are not in flight


def recheck(rt: "Runtime", table: MappedTable, compared: Compared, salt: Salt) -> Compared:
    """What is left of a comparison's differences (made with `salt`) after some more looks at those rows alone.

    Nothing to do where snapshots are exact. Raises what `meet` and the two sides' queries raise.
    """
    source = rt.pipeline.source
    if source.type != "mysql" or source.locking != "none":
        return compared
    images: Images | None = None
    for look in range(_LOOKS):
        if not compared.picks or len(compared.picks) > _MOST or not compared.result.complete:
            break
        last = compared.picks
        with meet(rt, [table.source]) as meeting:
            if meeting.gone:
                break
            compared, images = look_again(meeting.source, meeting.target, table, compared, salt, images)
        if look > 1 and compared.picks == last:  # the same rows, and the stream has not touched them
            break
    return compared
