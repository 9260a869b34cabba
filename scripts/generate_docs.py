"""Write the generated parts of docs/ from the code, or check that they are current (`--check`).

docs/pipeline.schema.json   the JSON Schema of a pipeline's file, for editors
docs/pipeline.md            the tables of settings, between the two markers
docs/types.md               the table of types, between its two markers
docs/health.md              the table of health, between its two markers
docs/metrics.md             the table of metrics, between its two markers
docs/schema-changes.md      the table of kinds of schema changes, between its two markers
docs/alert.schema.json      the JSON Schema of what a webhook receives
"""

import sys
import types
import typing
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from cdc_pipelines.replication.alerts.document import json_schema as alert_schema
from cdc_pipelines.replication.alerts.settings import Alerts, PagerDuty, Webhook
from cdc_pipelines.replication.carry.settings import Carry
from cdc_pipelines.replication.column_shape import Added, Mask, ShapedColumn
from cdc_pipelines.replication.health.rules import RULES
from cdc_pipelines.replication.health.settings import Health
from cdc_pipelines.replication.metrics.catalogue import METRICS
from cdc_pipelines.replication.pipeline import (
    Apply,
    Connect,
    Copy,
    Kafka,
    Pipeline,
    Source,
    TableChoice,
    TableShape,
    Target,
    Tls,
    Verify,
)
from cdc_pipelines.replication.pipeline_file import json_schema
from cdc_pipelines.replication.schedules import ResyncSchedule, Schedules, VerifySchedule
from cdc_pipelines.replication.schema_policy import WITHOUT_EFFECT, SchemaChanges, kinds
from cdc_pipelines.replication.value_rules import ColumnValues, Values
from cdc_pipelines.replication.values.mysql_postgres import TYPES

DOCS = Path(__file__).resolve().parents[1] / "docs"
END = "<!-- end of the generated part -->"

SECTIONS: list[tuple[str, type[BaseModel]]] = [
    ("Top level", Pipeline),
    ("`source`", Source),
    ("`target`", Target),
    ("`source.tls`, `target.tls`", Tls),
    ("`connect`", Connect),
    ("`kafka`", Kafka),
    ("`tables[]`", TableChoice),
    ("`values`", Values),
    ("`values.columns.TABLE.COLUMN`", ColumnValues),
    ("`shape.TABLE`", TableShape),
    ("`shape.TABLE.columns.COLUMN`", ShapedColumn),
    ("`shape.TABLE.columns.COLUMN.mask`", Mask),
    ("`shape.TABLE.add.COLUMN`", Added),
    ("`copy`", Copy),
    ("`carry`", Carry),
    ("`apply`", Apply),
    ("`schema_changes`", SchemaChanges),
    ("`verify`", Verify),
    ("`health`", Health),
    ("`alerts`", Alerts),
    ("`alerts.webhook`", Webhook),
    ("`alerts.pagerduty`", PagerDuty),
    ("`schedules`", Schedules),
    ("`schedules.resync`", ResyncSchedule),
    ("`schedules.verify`", VerifySchedule),
]


def settings_tables() -> str:
    """One markdown table per section of the file, in the order of the model's fields."""
    parts = []
    for title, model in SECTIONS:
        purpose = " ".join((model.__doc__ or "").split())
        rows = "\n".join(_row(name, field) for name, field in model.model_fields.items())
        parts.append(f"### {title}\n\n{purpose}\n\n| setting | type | default | meaning |\n|---|---|---|---|\n{rows}\n")
    return "\n".join(parts)


def types_table() -> str:
    """What every type of the sources becomes."""
    rows = "\n".join(
        f"| {rule.source} | {rule.target} | {rule.note} | {', '.join(f'`{name}`' for name in sorted(rule.heeds))} |"
        for rule in TYPES
    )
    return f"| MySQL, MariaDB | PostgreSQL | | rules |\n|---|---|---|---|\n{rows}\n"


def health_table() -> str:
    """Every problem that a status can name."""
    rows = "\n".join(
        f"| `{kind}` | {rule.when} | {rule.severity} | {rule.cure.replace('_', ' ') or 'no'} |"
        for kind, rule in RULES.items()
    )
    return f"| problem | when | severity | mended by itself |\n|---|---|---|---|\n{rows}\n"


def metrics_table() -> str:
    """Every metric that `/metrics` may tell."""
    rows = "\n".join(
        f"| `{name}` | {each.kind} | {', '.join(f'`{label}`' for label in each.labels)} | {each.help} |"
        for name, each in METRICS.items()
    )
    return f"| metric | kind | labels | meaning |\n|---|---|---|---|\n{rows}\n"


def schema_changes_table() -> str:
    """Every kind of schema change, what is done about it, and what else may be asked for."""
    rows = [
        f"| `{name}` | {kind.statements} | `{kind.default}` | "
        f"{'; '.join(f'`{policy}`: {words}' for policy, words in kind.words.items())} | "
        f"{', '.join(f'`{policy}`' for policy in kind.also)} |"
        for name, kind in kinds().items()
    ]
    nothing = (
        "nothing: no value on the target depends on them (a foreign key that acts where the source does not log it is "
        "told as the problem `cascade`)"
    )
    rows.append(f"| | {WITHOUT_EFFECT} | | {nothing} | |")
    return "| kind | statements | default | what is done | also |\n|---|---|---|---|---|\n" + "\n".join(rows) + "\n"


def _row(name: str, field: Any) -> str:
    meaning: str = field.description or (f"See `{field.alias or name}` below." if _is_section(field) else "")
    default = "the file's stem" if name == "name" else _default(field)
    cells = [f"`{field.alias or name}`", _type(field.annotation), default, meaning]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _is_section(field: Any) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)


def _type(annotation: Any) -> str:
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_type(argument) for argument in arguments if argument is not type(None))
    if origin is typing.Annotated:
        return _type(arguments[0])
    if origin is list:
        return f"list of {_type(arguments[0])}"
    if origin is dict:
        return "mapping"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "mapping"
    return {str: "text", int: "integer", float: "number", bool: "yes/no"}[annotation]


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    if field.default is PydanticUndefined or field.default is None:
        return ""
    return f"`{field.default}`"


def documents() -> dict[Path, str]:
    """What each generated file should hold."""
    return {
        DOCS / "pipeline.schema.json": json_schema(),
        DOCS / "pipeline.md": _with_part(DOCS / "pipeline.md", "cdc_pipelines/replication/pipeline.py",
                                         settings_tables()),
        DOCS / "types.md": _with_part(DOCS / "types.md", "cdc_pipelines/replication/values/mysql_postgres.py",
                                      types_table()),
        DOCS / "health.md": _with_part(DOCS / "health.md", "cdc_pipelines/replication/health/rules.py", health_table()),
        DOCS / "metrics.md": _with_part(DOCS / "metrics.md", "cdc_pipelines/replication/metrics/catalogue.py",
                                        metrics_table()),
        DOCS / "schema-changes.md": _with_part(
            DOCS / "schema-changes.md", "cdc_pipelines/replication/schema_policy.py", schema_changes_table()
        ),
        DOCS / "alert.schema.json": alert_schema(),
    }


def _with_part(file: Path, made_from: str, part: str) -> str:
    """The file's text with its generated part as it should be."""
    text = file.read_text(encoding="utf-8")
    begin = f"<!-- generated by `make docs` from {made_from}: do not edit -->"
    head, rest = text.split(begin)
    _, tail = rest.split(END)
    return f"{head}{begin}\n\n{part}\n{END}{tail}"


def main() -> int:
    check = "--check" in sys.argv[1:]
    stale = []
    for path, wanted in documents().items():
        if not path.exists() or path.read_text(encoding="utf-8") != wanted:
            stale.append(path)
            if not check:
                path.write_text(wanted, encoding="utf-8")
    for path in stale:
        print(f"{path}: {'not current; run `make docs` and commit it' if check else 'written'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
