"""`stop_replication`, `restart_replication`, `teardown`. Each may be run at any time and any number of times."""

import dagster as dg

from cdc_pipelines.assets.partitions import unregister
from cdc_pipelines.jobs.config import PipelineConfig, TeardownConfig
from cdc_pipelines.jobs.single import job_of
from cdc_pipelines.replication.errors import NotConfiguredError
from cdc_pipelines.replication.operations import lifecycle
from cdc_pipelines.resources.failures import RETRIES
from cdc_pipelines.resources.pipelines import PipelinesResource, tag_run


@dg.op(out=dg.Out(dg.Nothing), retry_policy=RETRIES)
def stop(context: dg.OpExecutionContext, config: PipelineConfig, pipelines: PipelinesResource) -> None:
    """End a pipeline's consumer and pause its connector. Nothing is lost: a restart goes on where it stood."""
    with pipelines.operation(context, config.pipeline, "stop") as rt:
        facts = lifecycle.stop(rt, context.log)
    context.add_output_metadata({key: str(value) for key, value in facts.items()})


@dg.op(out=dg.Out(dg.Nothing), retry_policy=RETRIES)
def restart(context: dg.OpExecutionContext, config: PipelineConfig, pipelines: PipelinesResource) -> None:
    """Stop a pipeline, wait a moment and start it where it was. Nothing is copied."""
    with pipelines.operation(context, config.pipeline, "restart") as rt:
        facts = lifecycle.restart(rt, context.log)
    context.add_output_metadata({key: str(value) for key, value in facts.items()})


@dg.op(out=dg.Out(dg.Nothing), retry_policy=RETRIES)
def tear_down(context: dg.OpExecutionContext, config: TeardownConfig, pipelines: PipelinesResource) -> None:
    """Remove a pipeline: connector, offsets, topics, our records. Target tables stay unless `drop_tables` is set."""
    try:
        with pipelines.store() as store:
            store.get(config.pipeline)
    except NotConfiguredError:
        tag_run(context, config.pipeline)
        context.log.info("pipeline %s: there is nothing to tear down", config.pipeline)
        return
    with pipelines.operation(context, config.pipeline, "teardown") as rt:
        tables = [t.name for t in rt.tables]
        facts = lifecycle.teardown(rt, context.log, drop_tables=config.drop_tables)
        removed = unregister(context.instance, config.pipeline, tables)
    context.log.info(
        "Pipeline %s is torn down; %d partitions removed. Reload the code location to drop its assets.",
        config.pipeline, removed,
    )
    context.add_output_metadata({key: str(value) for key, value in facts.items()})


stop_replication = job_of(stop, name="stop_replication", config=PipelineConfig)
restart_replication = job_of(restart, name="restart_replication", config=PipelineConfig)
teardown = job_of(tear_down, name="teardown", config=TeardownConfig)
