"""What a source has, and a complete pipeline file for it, so that nobody starts from an empty page."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import yaml

from cdc_pipelines.replication.carry.source import TableExtras
from cdc_pipelines.replication.catalog import Table
from cdc_pipelines.replication.databases.mysql.source import MySqlSource
from cdc_pipelines.replication.errors import CdcError
from cdc_pipelines.replication.pipeline import Pipeline, Source
from cdc_pipelines.replication.uncapturable import why_uncapturable
from cdc_pipelines.replication.values import form_for

SCHEMA_LINE = "# yaml-language-server: $schema=../docs/pipeline.schema.json"


@dataclass(frozen=True)
class Discovery:
    """The tables of a source."""

    source: Source
    tables: list[Table]
    extras: dict[str, TableExtras] = field(default_factory=dict)

    def why_not(self, table: Table) -> str | None:
        """Why no pipeline can have the table, whichever of its columns; None where one can."""
        return why_uncapturable(table, self.source.type)

    def unsupported(self, table: Table, target: str = "postgres") -> dict[str, str]:
        """Columns that have no form on the target: name → type."""
        found = {}
        for column in table.columns:
            try:
                form_for(column, self.source.type, target, table.name)
            except CdcError:
                found[column.name] = column.full_type
        return found

    def pipeline_yaml(self, name: str, *, client: int, config: int, target: dict[str, object]) -> str:
        """A pipeline file over all tables; columns without a form are left out, with a comment that says so."""
        source = self.source.model_dump(by_alias=True, exclude_defaults=True)
        lines = [SCHEMA_LINE, f"# Tables of {self.source.type} database {self.source.database}, as they were found."]
        head = {"name": name, "client": client, "config": config, "source": source, "target": target}
        text = "\n".join(lines) + "\n" + yaml.safe_dump(head, sort_keys=False, allow_unicode=True)
        if beside := self._beside():
            text += f"# Beside columns and keys there are {beside}. This makes them on the target too:\n"
            text += "# carry: {indexes: true, foreign_keys: true, checks: true, comments: true, identity: true}\n"
        text += "tables:\n"
        for table in self.tables:
            if why := self.why_not(table):
                text += f"  # {table.name} {why}\n"
                continue
            without = self.unsupported(table)
            comment = f"about {table.rows_estimate:,} rows, {table.data_bytes / 2**20:,.1f} MiB"
            comment += f", key ({', '.join(table.key)})" if table.key else ", no key"
            entry: dict[str, object] = {"source": table.name}
            if without:
                entry["columns"] = [c.name for c in table.columns if c.name not in without]
                comment += "; left out: " + ", ".join(f"{n} ({t})" for n, t in without.items())
            dumped = yaml.safe_dump(entry, default_flow_style=True, allow_unicode=True, width=10_000).strip()
            text += f"  - {dumped}  # {comment}\n"
        Pipeline.model_validate(yaml.safe_load(text))  # what we print, we accept
        return text


    def _beside(self) -> str:
        """What the tables have beside columns and keys, in words; empty where there is nothing."""
        all_ = list(self.extras.values())
        counts = {
            "secondary indexes": sum(len(each.indexes) for each in all_),
            "foreign keys": sum(len(each.foreign_keys) for each in all_),
            "checks": sum(len(each.checks) for each in all_),
            "comments": sum(len(each.comments) for each in all_),
            "AUTO_INCREMENT columns": sum(each.counter is not None for each in all_),
        }
        return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def discover(source: Source, names: Sequence[str] | None = None) -> Discovery:
    """Look at the live source. Raises as MySqlSource does."""
    server = MySqlSource(source)
    try:
        tables = server.tables(names)
        return Discovery(source, tables, server.extras([table.name for table in tables]))
    finally:
        server.close()
