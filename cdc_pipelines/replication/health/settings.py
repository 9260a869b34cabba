"""What a pipeline's file may say about its health."""

from pydantic import Field

from cdc_pipelines.replication.strict import Strict


class Health(Strict):
    """When a pipeline counts as unhealthy, and what is done about it."""

    lag_seconds: float = Field(300, gt=0, description="Seconds that the target may be behind the source.")
    runway_hours: float = Field(
        6, ge=0,
        description="Hours that must be left until the source may purge what is still needed. Where the source keeps "
        "its log for less than twice this, half of what it keeps counts.",
    )
    log_gb: float | None = Field(
        50, gt=0, description="Size that the change log may have, in GB before compression. `null`: any."
    )
    target_gb: float | None = Field(
        None, gt=0, description="Size that the target's database may have, in GB: somewhat less than its disk holds."
    )
    grace_seconds: float = Field(
        60, ge=0,
        description="How long a problem may last, and be mended by itself, before a run fails for it and people are "
        "told. What only a person can mend is told at once.",
    )
    heal: bool = Field(
        True, description="Whether failed tasks, dead consumers and deleted connectors are started again by themselves."
    )
    heal_attempts: int = Field(5, ge=1, le=100, description="Tries to mend one incident, each after a longer pause.")
    observe_seconds: float = Field(
        60, ge=15, description="How often lag, rows and log runway are recorded on the tables' assets in Dagster."
    )
