"""How pipelines, tables and chunks are called in Dagster. Table names are users' words: any character may occur."""

import hashlib
import re
from dataclasses import dataclass

import dagster as dg

from cdc_pipelines.replication.errors import ConfigurationError


def table_key(pipeline: str, table: str) -> dg.AssetKey:
    """The asset of a replicated table, by its name on the source."""
    return dg.AssetKey([pipeline, table])


def source_key(pipeline: str, table: str) -> dg.AssetKey:
    """The external asset of the source table."""
    return dg.AssetKey([pipeline, "source", table])


def partitions_name(pipeline: str, table: str) -> str:
    """The name of the dynamic partitions of a table: its chunks."""
    return f"{pipeline}/{table}"


def node_name(pipeline: str, table: str) -> str:
    """A name for the step that copies a table: letters, digits and underscores, another one for every table."""
    plain = re.sub(r"[^A-Za-z0-9_]", "_", table)
    if plain == table and "__" not in f"{pipeline}_{table}":
        return f"{pipeline}__{table}"
    # A name that had to be changed, or could be read as another pipeline's and table's, gets a mark of its own.
    mark = hashlib.sha256(f"{pipeline}/{table}".encode()).hexdigest()[:8]
    return f"{pipeline}__{plain}__{mark}"


@dataclass(frozen=True)
class ChunkPartition:
    """A chunk as a partition key, `g<generation>-<ordinal>`, e.g. `g1732550400-0007`.

    The generation is in it because Dagster can't forget a single partition: after a resync, a chunk that is not
    copied yet would look as if it were. The key's own values never appear: they would show users' data.
    """

    generation: int
    ordinal: int

    def __str__(self) -> str:
        return f"g{self.generation}-{self.ordinal:04d}"

    @classmethod
    def parse(cls, text: str) -> "ChunkPartition":
        match = re.fullmatch(r"g(\d+)-(\d{4,})", text)
        if match is None:
            raise ConfigurationError(
                f"partition {text!r} does not name a chunk (g<generation>-<ordinal>)",
                "choose one of the partitions that start_replication registered.",
            )
        return cls(int(match[1]), int(match[2]))
