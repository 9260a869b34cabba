"""The resource through which ops and assets reach a pipeline: its record, its servers, its lease."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import dagster as dg
from pydantic import Field

from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.replication.errors import RetryableError
from cdc_pipelines.replication.operations.runtime import Runtime
from cdc_pipelines.replication.secrets import redact
from cdc_pipelines.resources.failures import Context, explained

PIPELINE_TAG = "cdc/pipeline"


class PipelinesResource(dg.ConfigurableResource):
    """The pipelines of one control store.

    Everything secret stays where it is: the pipelines' passwords are references that each process resolves in
    its own environment, and the control store's URL is read from there too unless it is given as an `EnvVar`.
    """

    control_url: str = Field(
        "",
        repr=False,
        description="SQLAlchemy URL of the control store. Empty: the environment's CDC_CONTROL_URL, else SQLite in "
        "CDC_HOME. It holds a password where the store is PostgreSQL: give it as EnvVar, never as text.",
    )
    lease_seconds: int = Field(
        60,
        description="How long a run keeps a pipeline for itself after its last sign of life, in seconds: longer than "
        "the pause between two of its steps.",
    )

    @contextmanager
    def store(self, *, patience_s: float | None = None) -> Iterator[ControlStore]:
        """The control store, for as long as it is needed. With `patience_s` none of its statements waits for longer."""
        store = ControlStore.open(self.control_url or None, patience_s=patience_s)
        try:
            yield store
        finally:
            store.close()

    @contextmanager
    def beside(self, context: Context, pipeline: str) -> Iterator[Runtime]:
        """The pipeline, for work on one of its tables that others need not wait for: without its lease.

        The engine's errors become failures that say what to do.
        """
        with explained(context, pipeline), ExitStack() as stack:
            store = stack.enter_context(self.store())
            tag_run(context, pipeline)
            yield stack.enter_context(Runtime.open(pipeline, store))

    @contextmanager
    def operation(self, context: Context, pipeline: str, name: str, *, last: bool = True) -> Iterator[Runtime]:
        """The pipeline, to work on it, under its lease. All steps of one run share the lease: the run is its holder.

        `last=False` leaves it to the run's next step. A failure that is not retried gives it back and goes into the
        pipeline's diary. The engine's errors become failures that say what to do.
        """
        with ExitStack() as stack:
            with explained(context, pipeline):
                store = stack.enter_context(self.store())
            try:
                with explained(context, pipeline):
                    tag_run(context, pipeline)
                    rt = stack.enter_context(Runtime.open(pipeline, store))
                    _free_from_ended_run(context, store, pipeline)
                    ttl, holder = self.lease_seconds, context.run.run_id
                    with store.lease(pipeline, holder, name, ttl_s=ttl, keep=not last):
                        yield rt
            except dg.Failure as failure:
                _give_back(context, store, pipeline, name, failure.description or "")
                raise
            except (dg.DagsterExecutionInterruptedError, KeyboardInterrupt):
                _give_back(context, store, pipeline, name, "the run was terminated")
                raise


def tag_run(context: Context, pipeline: str) -> None:
    """Let people filter the list of runs by pipeline."""
    if context.run.tags.get(PIPELINE_TAG) != pipeline:
        context.instance.add_run_tags(context.run.run_id, {PIPELINE_TAG: pipeline})


def _free_from_ended_run(context: Context, store: ControlStore, pipeline: str) -> None:
    """Take the pipeline from a run that has ended without giving it back, as one that was killed."""
    held = store.lease_info(pipeline)
    if held is None or held.holder == context.run.run_id:
        return
    run = context.instance.get_run_by_id(held.holder)
    if run is not None and run.is_finished:
        context.log.info("run %s, which held pipeline %s, has ended: going on", held.holder, pipeline)
        store.release(pipeline, held.holder)


def _give_back(context: Context, store: ControlStore, pipeline: str, operation: str, reason: str) -> None:
    """After a failure: the lease, unless copies of other shards still need it, and a line in the diary."""
    holder = context.run.run_id
    try:
        # In this order: whoever sees the pipeline free can read why.
        store.record(pipeline, operation, holder, "failed", reason)
        if not _other_steps_at_work(context):
            store.release(pipeline, holder)
    except RetryableError as error:
        # The failure itself is what people must see. The lease runs out.
        context.log.warning(f"the failure could not be written into the control store: {redact(str(error))}")


def _other_steps_at_work(context: Context) -> bool:
    mine = context.get_step_execution_context().step.key
    stats = context.instance.get_run_step_stats(context.run.run_id)
    return any(s.step_key != mine and s.status is not None and s.status.value == "IN_PROGRESS" for s in stats)
