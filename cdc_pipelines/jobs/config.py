"""What the Launchpad asks for, field by field."""

import dagster as dg
from pydantic import Field

_PIPELINE = "Name of a configured pipeline, e.g. `shop`. `cdc list` shows them all."


class PipelineConfig(dg.Config):
    """Which pipeline."""

    pipeline: str = Field(description=_PIPELINE)


class StartConfig(PipelineConfig):
    """Which pipeline, and whether what was copied is kept."""

    force_resync: bool = Field(
        False,
        description="Throw the copied state away and copy every table again, into emptied target tables. "
        "False: chunks that are copied already stay, and a pipeline that was running goes on where it stood.",
    )


class FileConfig(dg.Config):
    """Which pipeline file."""

    file: str = Field(
        description="Path of the pipeline's file as the code location sees it, e.g. `pipelines/shop.yaml`; "
        "relative paths start in the code location's working folder."
    )
    text: str = Field(
        "",
        description="What the file is to hold, where it is not there yet or is to change: `configure` writes it there. "
        "Empty: the file as it is. Passwords as references only, as ever: a run's settings are kept.",
    )


class TeardownConfig(PipelineConfig):
    """Which pipeline, and what becomes of its target tables."""

    drop_tables: bool = Field(
        False, description="Drop the replicated tables on the target too. False: they stay, with their rows."
    )


class VerifyConfig(PipelineConfig):
    """Which pipeline, which tables, how much to name."""

    tables: list[str] = Field([], description="Tables to compare, by their names on the source. Empty: all.")
    max_keys: int = Field(100, description="How many differing keys are named per table; all are counted.")
    repair: bool = Field(
        False,
        description="Write the rows that differ anew, as the source has them, and compare again. The stream stands "
        "still for as long as each portion of rows takes.",
    )
    rows_per_second: int | None = Field(
        None,
        description="Read no faster than this, to spare the source. Holds for tables with a key of integers; others "
        "are read in one go.",
    )


class TablesConfig(PipelineConfig):
    """Which pipeline, and which of its tables."""

    tables: list[str] = Field(description="Tables, by their names on the source; copied one after the other.")


class AddTableConfig(PipelineConfig):
    """Which pipeline, and which table of its source is to join it."""

    table: str = Field(description="The table, by its name on the source.")
    target: str = Field("", description="Its name on the target, where that is another.")


class RemoveTableConfig(PipelineConfig):
    """Which pipeline, which of its tables, and what becomes of the target's."""

    table: str = Field(description="The table, by its name on the source.")
    drop_table: bool = Field(False, description="Drop its target table too. False: it stays, with its rows.")


class DeadLettersConfig(PipelineConfig):
    """Which pipeline, and which of its dead letters are listed."""

    table: str = Field("", description="Only this table's, by its name on the source. Empty: all.")
    settled: bool = Field(False, description="Also those that were skipped, or settled by a new copy of the table.")


class DeadLetterConfig(PipelineConfig):
    """Which dead letter of which pipeline."""

    id: int = Field(description="Number of the dead letter, as the job `dead_letters` lists it.")


class SkipConfig(DeadLetterConfig):
    """Which dead letter, and why it may be left."""

    note: str = Field(description="Why it may be left as it is; kept with it.")
