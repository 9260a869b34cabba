"""`resync_tables`, `release_tables`, `add_table`, `remove_table`: single tables of a running pipeline.

The others stream on meanwhile.
"""

import dagster as dg

from cdc_pipelines.assets.lanes import tell_joined
from cdc_pipelines.assets.partitions import unregister
from cdc_pipelines.jobs.config import AddTableConfig, RemoveTableConfig, TablesConfig
from cdc_pipelines.jobs.single import job_of
from cdc_pipelines.replication.lanes import requests
from cdc_pipelines.replication.lanes.release import release
from cdc_pipelines.resources.failures import RETRIES
from cdc_pipelines.resources.pipelines import PipelinesResource
from cdc_pipelines.resources.webserver import load_anew


@dg.op(out=dg.Out(dg.Nothing), retry_policy=RETRIES)
def copy_tables_again(context: dg.OpExecutionContext, config: TablesConfig, pipelines: PipelinesResource) -> None:
    """Copy tables of a pipeline again, while everything streams on. Readers see the old rows, and then the new ones."""
    with pipelines.beside(context, config.pipeline) as rt:
        for table in dict.fromkeys(config.tables):
            joined = requests.resync_table(rt, context.log, table, holder=context.run.run_id)
            tell_joined(context, rt, joined)


@dg.op(out=dg.Out(dg.Nothing), retry_policy=RETRIES)
def give_tables_back(context: dg.OpExecutionContext, config: TablesConfig, pipelines: PipelinesResource) -> None:
    """Give tables in quarantine back to the stream, once their cause is mended: copied again, and joined to it."""
    with pipelines.beside(context, config.pipeline) as rt:
        for table in dict.fromkeys(config.tables):
            joined = release(rt, table, context.log, holder=context.run.run_id)
            tell_joined(context, rt, joined)


@dg.op(out=dg.Out(dg.Nothing), retry_policy=RETRIES)
def take_table_in(context: dg.OpExecutionContext, config: AddTableConfig, pipelines: PipelinesResource) -> None:
    """Take a table of the source into a running pipeline: copied beside the stream, then joined to it."""
    with pipelines.beside(context, config.pipeline) as rt:
        joined = requests.add_table(
            rt, context.log, config.table, holder=context.run.run_id, target=config.target or None
        )
        if joined is not None:
            tell_joined(context, rt, joined)
    context.log.info("%s Name the table in the pipeline's file too.", load_anew(context.log))


@dg.op(out=dg.Out(dg.Nothing), retry_policy=RETRIES)
def leave_table_out(context: dg.OpExecutionContext, config: RemoveTableConfig, pipelines: PipelinesResource) -> None:
    """Leave a table out of a running pipeline from now on. Its target table stays unless `drop_table` is set."""
    with pipelines.beside(context, config.pipeline) as rt:
        requests.remove_table(rt, context.log, config.table, holder=context.run.run_id, drop=config.drop_table)
        unregister(context.instance, config.pipeline, [config.table])
    context.log.info("%s Take the table out of the pipeline's file too.", load_anew(context.log))


resync_tables = job_of(copy_tables_again, name="resync_tables", config=TablesConfig)
release_tables = job_of(give_tables_back, name="release_tables", config=TablesConfig)
add_table = job_of(take_table_in, name="add_table", config=AddTableConfig)
remove_table = job_of(leave_table_out, name="remove_table", config=RemoveTableConfig)
