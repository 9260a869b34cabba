"""`start_replication`: one run from nothing to flowing changes.

    validate_prerequisites → plan_copy → copy_shard × n → check_copy → create_connector → start_consumer

No step hands data to the next: each reads the truth anew from the target and the servers. So nothing has to be
stored between them (steps may run on different machines), and "re-execute from failure" copies only what is missing.

Steps log their events (`log_event` stores them at once) instead of yielding them: a run may be terminated while Dagster
handles what a generator yielded, and such a generator is never closed, so it could not give the pipeline back.
"""

from collections.abc import Iterable
from typing import Any

import dagster as dg

from cdc_pipelines.assets.declared import DeclaredPipeline
from cdc_pipelines.assets.lanes import tell_joined
from cdc_pipelines.assets.metadata import copied_metadata
from cdc_pipelines.assets.names import table_key
from cdc_pipelines.assets.partitions import materialization, missing_events, register
from cdc_pipelines.assets.tables import COPY_POOL
from cdc_pipelines.jobs.config import PipelineConfig, StartConfig
from cdc_pipelines.jobs.executors import PRELOAD
from cdc_pipelines.replication.chunk import Chunk
from cdc_pipelines.replication.operations import start as engine
from cdc_pipelines.replication.operations.carried_outcome import words
from cdc_pipelines.resources.failures import RETRIES, prerequisites_table
from cdc_pipelines.resources.pipelines import PipelinesResource

_SHARD = "shard_"
_DEFAULT_WORKERS = 2  # of pipelines that were configured after this code location was loaded


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
) -> list[dg.DynamicOutput[None]]:
    """STEP 2/4, plan: cut the tables into chunks, register these as partitions, fan out over what is not copied."""
    with pipelines.operation(context, config.pipeline, "start", last=False) as rt:
        plan = engine.step_plan(rt, context.log, force_resync=config.force_resync)
        added, removed = register(context.instance, config.pipeline, plan.generation, plan.chunks)
        context.log.info("  partitions: %d new, %d of earlier plans removed", added, removed)
        for event in missing_events(context.instance, config.pipeline, plan.generation, plan.chunks):
            context.log_event(event)
    return [
        dg.DynamicOutput(
            None,
            mapping_key=f"{_SHARD}{shard.index}",
            metadata={
                "chunks": shard.chunks,
                "rows (estimate)": shard.rows_estimate,
                "tables": ", ".join(shard.tables),
            },
        )
        for shard in plan.shards
        if not shard.done
    ]


@dg.op(ins={"planned": dg.In(dg.Nothing)}, out=dg.Out(dg.Nothing), pool=COPY_POOL, retry_policy=RETRIES)
def copy_shard(context: dg.OpExecutionContext, config: PipelineConfig, pipelines: PipelinesResource) -> None:
    """STEP 2/4, copy: the chunks of one shard, each in a target transaction of its own. Copied ones are passed over."""
    shard = int((context.get_mapping_key() or "").removeprefix(_SHARD))
    copied: list[Chunk] = []
    with pipelines.operation(context, config.pipeline, "start", last=False) as rt:
        generation = rt.record.generation

        def show(chunk: Chunk) -> None:
            copied.append(chunk)
            context.log.info(
                "  %s: chunk %d, %s rows in %.1f s", chunk.table, chunk.ordinal, f"{chunk.rows:,}", chunk.seconds
            )
            context.log_event(materialization(config.pipeline, generation, chunk))

        engine.step_copy_shard(rt, context.log, shard=shard, on_chunk=show)
    context.add_output_metadata(
        {"chunks": len(copied), "rows": sum(c.rows for c in copied), "bytes": sum(c.bytes for c in copied)}
    )


@dg.op(ins={"copied": dg.In(dg.Nothing)}, out=dg.Out(dg.Nothing), retry_policy=RETRIES)
def check_copy(context: dg.OpExecutionContext, config: PipelineConfig, pipelines: PipelinesResource) -> None:
    """STEP 2/4, check: every chunk of every table is there, with its rows."""
    with pipelines.operation(context, config.pipeline, "start", last=False) as rt:
        tables = engine.step_check_copy(rt, context.log)
        engine.step_carry(rt, context.log, before_stream=True)
        with rt.target("check") as (_, state):
            chunks = state.chunks()
        # A copy that was killed after a chunk's commit, before its event: Dagster hears of it now.
        for event in missing_events(context.instance, config.pipeline, rt.record.generation, chunks):
            context.log_event(event)
        for copied in tables:
            context.log_event(
                dg.AssetObservation(
                    table_key(config.pipeline, copied.table.name),
                    description=f"initial copy complete: {copied.rows:,} rows",
                    metadata=copied_metadata(copied.table, copied.rows, copied.bytes, copied.seconds, copied.chunks),
                )
            )
    context.add_output_metadata({"tables": len(tables), "rows": sum(t.rows for t in tables)})


@dg.op(ins={"checked": dg.In(dg.Nothing)}, out=dg.Out(dg.Nothing), retry_policy=RETRIES)
def create_connector(context: dg.OpExecutionContext, config: PipelineConfig, pipelines: PipelinesResource) -> None:
    """STEP 3/4: Debezium starts at exactly the position of the copy. A connector that is at work already is kept."""
    with pipelines.operation(context, config.pipeline, "start", last=False) as rt:
        facts = engine.step_connector(rt, context.log)
    context.add_output_metadata({key: str(value) for key, value in facts.items()})


@dg.op(ins={"connected": dg.In(dg.Nothing)}, out=dg.Out(dg.Nothing), retry_policy=RETRIES)
def start_consumer(context: dg.OpExecutionContext, config: PipelineConfig, pipelines: PipelinesResource) -> None:
    """STEP 4/4: a consumer under the agent; done when a record has passed the whole way from source to target.

    Tables that the configuration has otherwise than what streams are then brought in line, beside the stream.
    """
    with pipelines.operation(context, config.pipeline, "start") as rt:
        facts = engine.step_consumer(rt, context.log)
        carried = engine.step_carry(rt, context.log)
        rt.store.record(config.pipeline, "start", context.run.run_id, "done", f"generation {rt.record.generation}")
    with pipelines.beside(context, config.pipeline) as rt:
        for joined in engine.align_tables(rt, context.log, holder=context.run.run_id):
            tell_joined(context, rt, joined)
        missing = [t.name for t in rt.tables if not context.instance.has_asset_key(table_key(config.pipeline, t.name))]
    if missing:
        context.log.info("Tables without a partition yet: %s", ", ".join(missing))
    context.log.info(
        "Pipeline %s is running. Its tables are the assets of group %s; where they are not shown, reload the code "
        "location.", config.pipeline, config.pipeline,
    )
    metadata: dict[str, Any] = {key: str(value) for key, value in facts.items()}
    if carried is not None and (carried.there or carried.rest):
        metadata["carried"] = {"there": carried.there, "not": [f"{words(each)}: {each.why}" for each in carried.rest]}
    context.add_output_metadata(metadata)


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
