"""Jobs of one op whose settings stand at the top of the Launchpad, without the op's name around them."""

import dagster as dg

from cdc_pipelines.jobs.executors import one_process


def job_of(op: dg.OpDefinition, *, name: str, config: type[dg.Config]) -> dg.JobDefinition:
    """A job that runs `op` alone and takes the op's `config` as its own. The op's description is the job's."""

    @dg.config_mapping
    def mapping(settings: config) -> dg.RunConfig:
        return dg.RunConfig(ops={op.name: settings})

    @dg.graph(name=f"{name}_steps")
    def steps() -> None:
        op()

    return steps.to_job(name=name, description=op.description, config=mapping, executor_def=one_process)
