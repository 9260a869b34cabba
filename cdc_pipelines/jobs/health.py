"""`replication_health`: a run that fails for an incident, so that people see it. `heal_replication` mends it."""

import json
from collections.abc import Sequence

import dagster as dg
from pydantic import Field

from cdc_pipelines.jobs.config import PipelineConfig
from cdc_pipelines.jobs.single import job_of
from cdc_pipelines.replication.control.store import Action, Incident
from cdc_pipelines.replication.errors import CdcError, NotConfiguredError
from cdc_pipelines.replication.health import healing
from cdc_pipelines.replication.health.status import status
from cdc_pipelines.replication.operations.runtime import Runtime
from cdc_pipelines.replication.secrets import redact
from cdc_pipelines.resources.failures import masked
from cdc_pipelines.resources.pipelines import PipelinesResource, tag_run

INCIDENT_TAG = "cdc/incident"


class IncidentConfig(PipelineConfig):
    """Which pipeline, which incident."""

    incident: int = Field(description="Number of the incident, as the sensor `replication_health` gives it.")


@dg.op(out=dg.Out(dg.Nothing))
def raise_incident(context: dg.OpExecutionContext, config: IncidentConfig, pipelines: PipelinesResource) -> None:
    """Fail for an incident, with the pipeline's status. The sensor `replication_health` launches it, once per incident.

    It succeeds where the incident is over by then.
    """
    tag_run(context, config.pipeline)
    with pipelines.store() as store:
        incident = store.incident(config.incident)
        if incident is None or incident.pipeline != config.pipeline:
            raise dg.Failure(
                f"pipeline {config.pipeline} has no incident {config.incident}",
                metadata={"next step": "see `cdc incidents`; this job is meant for the sensor `replication_health`."},
                allow_retries=False,
            )
        store.set_run(incident.id, context.run.run_id)
        if incident.resolved_at is not None:
            context.log.info("incident %d was over after %.0f s: nothing to raise", incident.id, incident.seconds)
            return
        actions = store.actions(incident.id)
        try:
            with Runtime.open(config.pipeline, store, impatient=True) as rt:
                facts = status(rt)
        except NotConfiguredError:
            context.log.info("pipeline %s was torn down meanwhile", config.pipeline)
            return
        except CdcError as error:
            facts = {"overall": incident.severity, "errors": [redact(str(error))]}
    first = incident.problems[0]
    raise dg.Failure(
        f"pipeline {config.pipeline} is {incident.severity}: " + "; ".join(p.message for p in incident.problems),
        metadata={
            "pipeline": config.pipeline,
            "incident": incident.id,
            "since": dg.MetadataValue.timestamp(incident.opened_at),
            "problems": _problems_table(incident),
            "next step": dg.MetadataValue.md(first.next_step or f"see `cdc status {config.pipeline}`"),
            "tried by itself": _actions_table(actions),
            # Through JSON: a status holds dates and sets of other modules, Dagster wants plain values.
            "status": dg.MetadataValue.json(json.loads(json.dumps(facts, default=str))),
        },
        allow_retries=False,
    )


def _problems_table(incident: Incident) -> dg.MetadataValue:
    return dg.MetadataValue.table(
        records=[
            dg.TableRecord(
                {"severity": p.severity, "problem": p.kind, "message": p.message, "next step": p.next_step}
            )
            for p in incident.problems
        ],
        schema=dg.TableSchema([dg.TableColumn(n) for n in ("severity", "problem", "message", "next step")]),
    )


def _actions_table(actions: Sequence[Action]) -> dg.MetadataValue:
    return dg.MetadataValue.table(
        records=[
            dg.TableRecord(
                {"at": f"{a.at:%Y-%m-%d %H:%M:%S} UTC", "action": a.action, "outcome": a.outcome, "message": a.message}
            )
            for a in actions
        ],
        schema=dg.TableSchema([dg.TableColumn(n) for n in ("at", "action", "outcome", "message")]),
    )


@dg.op(out=dg.Out(dg.Nothing))
def mend(context: dg.OpExecutionContext, config: IncidentConfig, pipelines: PipelinesResource) -> None:
    """Mend what can be mended: restart a failed task or a dead consumer, make a deleted connector anew, copy again what
    can't be followed.

    What was done, and how it ended, is kept with the incident.
    """

    def keep(outcome: str, message: str) -> None:
        with pipelines.store() as store:
            store.record_action(config.incident, "heal", outcome, message)

    try:
        with pipelines.operation(context, config.pipeline, "heal") as rt:
            done = healing.heal(rt, context.log)
        with pipelines.beside(context, config.pipeline) as rt:
            done = "; ".join(filter(None, (done, healing.heal_tables(rt, context.log, context.run.run_id))))
    except dg.Failure as failure:
        keep("failed", failure.description or "")
        raise
    except CdcError as error:  # tried again by the next look, after a pause: not by this run
        keep("failed", str(error))
        raise dg.Failure(redact(error.message), allow_retries=False) from masked(error)
    keep("done", done)
    context.log.info("pipeline %s: %s", config.pipeline, done)
    context.add_output_metadata({"done": done})


replication_health = job_of(raise_incident, name="replication_health", config=IncidentConfig)
heal_replication = job_of(mend, name="heal_replication", config=IncidentConfig)
