"""A process that copies what is left of a plan, for tests that kill it: prints each chunk as it is committed."""

import json
import resource
import sys

from cdc_pipelines.replication.copy.move import copy_chunks
from cdc_pipelines.replication.databases.mysql.source import MySqlSource
from cdc_pipelines.replication.databases.postgres.connection import connect
from cdc_pipelines.replication.databases.postgres.state import TargetState
from cdc_pipelines.replication.pipeline import Source, Target


def main() -> None:
    facts = json.loads(sys.argv[1])
    source = MySqlSource(Source.model_validate(facts["source"]))
    target = Target.model_validate(facts["target"])
    with connect(target, purpose="shop:plan") as conn:
        state = TargetState(conn, "shop")
        now = state.load()
        assert now is not None
        tables = {t.name: t for t in state.mapped_tables()}
        chunks = state.chunks()
    with source.open_snapshot(1, [t.source for t in tables.values()]) as snapshot:
        print("open", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, flush=True)
        copy_chunks(
            snapshot.sessions[0], snapshot.position, target, "shop", now.generation, now.epoch, tables, chunks,
            on_chunk=lambda chunk: print(chunk, flush=True),
        )
    print("end", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, flush=True)


if __name__ == "__main__":
    main()
