"""`start_replication`: one run from nothing to flowing changes.

    validate_prerequisites → plan_copy → copy_shard × n → check_copy → create_connector → start_consumer

No step hands data to the next: each reads the truth anew from the target and the servers. So nothing has to be
stored between them (steps may run on different machines), and "re-execute from failure" copies only what is missing.
"""

from collections.abc import Iterable, Iterator

import dagster as dg

from cdc_pipelines.assets.declared import DeclaredPipeline
from cdc_pipelines.assets.metadata import copied_metadata
from cdc_pipelines.assets.names import table_key
from cdc_pipelines.assets.partitions import materialization, missing_events, register
from cdc_pipelines.assets.tables import COPY_POOL
from cdc_pipelines.jobs.config import PipelineConfig, StartConfig
from cdc_pipelines.jobs.executors import PRELOAD
from cdc_pipelines.replication.operations import start as engine
from cdc_pipelines.resources.failures import RETRIES, prerequisites_table
from cdc_pipelines.resources.pipelines import PipelinesResource
from cdc_pipelines.resources.relay import Relay

_SHARD = "shard_"
_DEFAULT_WORKERS = 2  # of pipelines that were configured after this code location was loaded

StepEvent = dg.Output[None] | dg.DynamicOutput[None] | dg.AssetMaterialization | dg.AssetObservation


@dg.op(out=dg.Out(dg.Nothing), retry_policy=RETRIES)
def validate_prerequisites(
    context: dg.OpExecutionContext, config: StartConfig, pipelines: PipelinesResource
) -> None:
    """STEP 1/4: both databases, the source's log, grants, Kafka, Connect. Nothing is written before this passes."""
    with pipelines.operation(context, config.pipeline, "start", last=False) as rt:
        results = engine.step_validate(rt, context.log, force_resync=config.force_resync)
    context.add_output_metadata({"prerequisites": prerequisites_table(results)})


@dg.op(ins={"validated": dg.In(dg.Nothing)}, out=dg.DynamicOut(dg.Nothing), retry_policy=RETRIES)
def plan_copy(
    context: dg.OpExecutionContext, config: StartConfig, pipelines: PipelinesResource
) -> Iterator[StepEvent]:
    """STEP 2/4, plan: cut the tables into chunks, register these as partitions, fan out over what is not copied."""
    with pipelines.operation(context, config.pipeline, "start", last=False) as rt:
        plan = engine.step_plan(rt, context.log, force_resync=config.force_resync)
        added, removed = register(context.instance, config.pipeline, plan.generation, plan.chunks)
        context.log.info("  partitions: %d new, %d of earlier plans removed", added, removed)
        yield from missing_events(context.instance, config.pipeline, plan.generation, plan.chunks)
    for shard in plan.shards:
        if not shard.done:
            yield dg.DynamicOutput(
                None,
                mapping_key=f"{_SHARD}{shard.index}",
                metadata={
                    "chunks": shard.chunks,
                    "rows (estimate)": shard.rows_estimate,
                    "tables": ", ".join(shard.tables),
                },
            )


@dg.op(ins={"planned": dg.In(dg.Nothing)}, out=dg.Out(dg.Nothing), pool=COPY_POOL, retry_policy=RETRIES)
def copy_shard(
    context: dg.OpExecutionContext, config: PipelineConfig, pipelines: PipelinesResource
) -> Iterator[StepEvent]:
    """STEP 2/4, copy: the chunks of one shard, each in a target transaction of its own. Copied ones are passed over."""
    shard = int((context.get_mapping_key() or "").removeprefix(_SHARD))
    rows, size, chunks = 0, 0, 0
    with pipelines.operation(context, config.pipeline, "start", last=False) as rt:
        generation = rt.record.generation
        for chunk in Relay(
            lambda emit: engine.step_copy_shard(rt, context.log, shard=shard, on_chunk=emit), name=f"copy-{shard}"
        ):
            rows, size, chunks = rows + chunk.rows, size + chunk.bytes, chunks + 1
            context.log.info(
                "  %s: chunk %d, %s rows in %.1f s", chunk.table, chunk.ordinal, f"{chunk.rows:,}", chunk.seconds
            )
            yield materialization(config.pipeline, generation, chunk)
    yield dg.Output(None, metadata={"chunks": chunks, "rows": rows, "bytes": size})


@dg.op(ins={"copied": dg.In(dg.Nothing)}, out=dg.Out(dg.Nothing), retry_policy=RETRIES)
def check_copy(
    context: dg.OpExecutionContext, config: PipelineConfig, pipelines: PipelinesResource
) -> Iterator[StepEvent]:
    """STEP 2/4, check: every chunk of every table is there, with its rows."""
    with pipelines.operation(context, config.pipeline, "start", last=False) as rt:
        tables = engine.step_check_copy(rt, context.log)
        with rt.target("check") as (_, state):
            chunks = state.chunks()
        # A copy that was killed after a chunk's commit, before its event: Dagster hears of it now.
        yield from missing_events(context.instance, config.pipeline, rt.record.generation, chunks)
        for copied in tables:
            yield dg.AssetObservation(
                table_key(config.pipeline, copied.table.name),
                description=f"initial copy complete: {copied.rows:,} rows",
                metadata=copied_metadata(copied.table, copied.rows, copied.bytes, copied.seconds, copied.chunks),
            )
    yield dg.Output(None, metadata={"tables": len(tables), "rows": sum(t.rows for t in tables)})


@dg.op(ins={"checked": dg.In(dg.Nothing)}, out=dg.Out(dg.Nothing), retry_policy=RETRIES)
def create_connector(context: dg.OpExecutionContext, config: PipelineConfig, pipelines: PipelinesResource) -> None:
    """STEP 3/4: Debezium starts at exactly the position of the copy. A connector that is at work already is kept."""
    with pipelines.operation(context, config.pipeline, "start", last=False) as rt:
        facts = engine.step_connector(rt, context.log)
    context.add_output_metadata({key: str(value) for key, value in facts.items()})


@dg.op(ins={"connected": dg.In(dg.Nothing)}, out=dg.Out(dg.Nothing), retry_policy=RETRIES)
def start_consumer(context: dg.OpExecutionContext, config: PipelineConfig, pipelines: PipelinesResource) -> None:
    """STEP 4/4: a consumer under the agent; done when a record has passed the whole way from source to target."""
    with pipelines.operation(context, config.pipeline, "start") as rt:
        facts = engine.step_consumer(rt, context.log)
        rt.store.record(config.pipeline, "start", context.run.run_id, "done", f"generation {rt.record.generation}")
        missing = [t.name for t in rt.tables if not context.instance.has_asset_key(table_key(config.pipeline, t.name))]
    if missing:
        context.log.info("Tables without a partition yet: %s", ", ".join(missing))
    context.log.info(
        "Pipeline %s is running. Its tables are the assets of group %s; where they are not shown, reload the code "
        "location.", config.pipeline, config.pipeline,
    )
    context.add_output_metadata({key: str(value) for key, value in facts.items()})


@dg.graph
def start_steps() -> None:
    """Validate, copy, connect, consume."""
    copied = plan_copy(validate_prerequisites()).map(copy_shard)
    start_consumer(create_connector(check_copy(copied.collect())))


def start_job(pipelines: Iterable[DeclaredPipeline]) -> dg.JobDefinition:
    """The job. Of the pipelines only `copy.workers` is used: how many shards are copied at a time."""
    workers = {p.name: p.spec.copy_.workers for p in pipelines}

    @dg.config_mapping
    def start_config(config: StartConfig) -> dg.RunConfig:
        one = PipelineConfig(pipeline=config.pipeline)
        return dg.RunConfig(
            ops={
                "validate_prerequisites": config,
                "plan_copy": config,
                "copy_shard": one,
                "check_copy": one,
                "create_connector": one,
                "start_consumer": one,
            },
            execution={
                "config": {
                    "max_concurrent": workers.get(config.pipeline, _DEFAULT_WORKERS),
                    "start_method": {"forkserver": {"preload_modules": PRELOAD}},
                }
            },
        )

    return start_steps.to_job(
        name="start_replication",
        description="Start a pipeline, or finish a start that failed: validate, copy, create the connector, start the "
        "consumer. Running it on a pipeline that runs already changes nothing, unless `force_resync` is set.",
        config=start_config,
        executor_def=dg.multiprocess_executor,
    )
