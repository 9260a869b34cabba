"""The Dagster definitions: wiring, nothing else.

They load while every database is down: pipelines come from the control store and from `pipelines/*.yaml`.
A pipeline that is configured appears with its tables and schedules once the code location is loaded anew, which
`configure` and the sensor `configuration` ask the webserver for.
"""

import dagster as dg

from cdc_pipelines.assets.checks import equality_checks
from cdc_pipelines.assets.declared import declared_pipelines
from cdc_pipelines.assets.tables import replicated_tables
from cdc_pipelines.jobs import dead_letters, lifecycle, prepare, tables, verify
from cdc_pipelines.jobs import health as health_jobs
from cdc_pipelines.jobs.executors import one_process
from cdc_pipelines.jobs.start import start_job
from cdc_pipelines.resources.pipelines import PipelinesResource
from cdc_pipelines.schedules.declared import pipeline_schedules
from cdc_pipelines.sensors.alerts import alert_follow_ups, alerts
from cdc_pipelines.sensors.configuration import configuration_sensor
from cdc_pipelines.sensors.health import health
from cdc_pipelines.sensors.verifications import verifications

_pipelines = declared_pipelines()

defs = dg.Definitions(
    assets=[*replicated_tables(_pipelines)],
    asset_checks=[*equality_checks(_pipelines)],
    jobs=[
        prepare.discover,
        prepare.configure,
        start_job(_pipelines),
        lifecycle.stop_replication,
        lifecycle.restart_replication,
        tables.resync_tables,
        tables.release_tables,
        tables.add_table,
        tables.remove_table,
        dead_letters.dead_letters,
        dead_letters.retry_dead_letter,
        dead_letters.skip_dead_letter,
        verify.verify_replication,
        lifecycle.teardown,
        health_jobs.replication_health,
        health_jobs.heal_replication,
    ],
    schedules=[*pipeline_schedules(_pipelines)],
    sensors=[health, alerts, alert_follow_ups, verifications, configuration_sensor(_pipelines)],
    resources={"pipelines": PipelinesResource()},
    executor=one_process,
)
