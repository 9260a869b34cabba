"""A pipeline that is being set up: from a form's fields to a pipeline's document and text. Nothing is kept between."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import ValidationError

from cdc_pipelines.replication.catalog import Table
from cdc_pipelines.replication.errors import ConfigurationError
from cdc_pipelines.replication.operations.discover import SCHEMA_LINE, Discovery
from cdc_pipelines.replication.pipeline import Connect, Kafka, Pipeline

Form = Mapping[str, str]
Document = dict[str, Any]


@dataclass(frozen=True)
class Field:
    """One question of the first step. `name` is its path in the pipeline's file."""

    name: str
    label: str
    default: str
    note: str = ""
    choices: tuple[str, ...] = ()


_REFERENCE = "A reference, ${env:NAME} or ${file:/path}: where the password is, never the password itself."
SECTIONS: tuple[tuple[str, tuple[Field, ...]], ...] = (
    ("Pipeline", (
        Field("name", "Name", "", "Small letters, digits and _. Its file is pipelines/NAME.yaml."),
    )),
    ("Source", (
        Field("source.type", "Kind", "mysql", choices=("mysql", "mariadb")),
        Field("source.host", "Host", "127.0.0.1"),
        Field("source.port", "Port", "3306", "A number, or a ${env:NAME} reference."),
        Field("source.database", "Database", ""),
        Field("source.user", "User", "cdc"),
        Field("source.password", "Password's place", "${env:CDC_SOURCE_PASSWORD}", _REFERENCE),
    )),
    ("Target", (
        Field("target.type", "Kind", "postgres", choices=("postgres",)),
        Field("target.host", "Host", "127.0.0.1"),
        Field("target.port", "Port", "5432", "A number, or a ${env:NAME} reference."),
        Field("target.database", "Database", ""),
        Field("target.schema", "Schema", "public", "It receives the tables; it is made where it is not there."),
        Field("target.user", "User", "cdc"),
        Field("target.password", "Password's place", "${env:CDC_TARGET_PASSWORD}", _REFERENCE),
    )),
    ("Kafka", (
        Field("connect.url", "Kafka Connect", str(Connect.model_fields["url"].default)),
        Field("kafka.bootstrap_servers", "Brokers", str(Kafka.model_fields["bootstrap_servers"].default),
              "host:port, several with commas between."),
    )),
)  # fmt: skip
FIELDS = tuple(field for _, fields in SECTIONS for field in fields)


@dataclass(frozen=True)
class ColumnChoice:
    name: str
    type: str
    chosen: bool
    target: str
    supported: bool
    key: bool


@dataclass(frozen=True)
class TableChoices:
    """A table of the source as the second step shows it. `mark` tells whether it is still the same table later.

    `why_not`: why it can't be chosen, for people; empty where it can.
    """

    number: int
    table: Table
    mark: str
    chosen: bool
    target: str
    columns: tuple[ColumnChoice, ...]
    why_not: str


def defaults(like: Pipeline | None) -> dict[str, str]:
    """What the first step is filled in with: the servers of a pipeline that is there, if there is one."""
    values = {field.name: field.default for field in FIELDS}
    if like is not None:
        known = like.model_dump(by_alias=True)
        for name in values:
            section, _, key = name.partition(".")
            if key and key not in ("database", "schema"):
                values[name] = str(known[section][key])
    return values


def head(form: Form, config: int) -> Document:
    """The document of the first step: what is empty or default is left out."""
    document: Document = {"name": form.get("name", "").strip(), "client": 1, "config": config}
    for field in FIELDS[1:]:
        section, key = field.name.split(".")
        value: str | int = form.get(field.name, "").strip()
        if section in ("connect", "kafka") and value in ("", field.default):
            continue
        if key == "port" and str(value).isdecimal():
            value = int(value)
        document.setdefault(section, {})[key] = value
    return document


def validated(document: Document) -> tuple[Pipeline | None, dict[str, str]]:
    """The pipeline, or what is wrong in which field."""
    try:
        return Pipeline.model_validate({"tables": "all"} | document), {}
    except ValidationError as error:
        return None, {
            ".".join(str(part) for part in each["loc"][:2]): each["msg"].removeprefix("Value error, ")
            for each in error.errors(include_input=False)
        }


def choices(found: Discovery, form: Form) -> list[TableChoices]:
    """The second step's tables: as they were chosen in the form, at first all that can be replicated."""
    asked = "chosen" in form
    return [_choices(found, number, table, form, asked) for number, table in enumerate(found.tables)]


def _choices(found: Discovery, number: int, table: Table, form: Form, asked: bool) -> TableChoices:
    without = found.unsupported(table)
    columns = tuple(
        ColumnChoice(
            column.name, column.full_type,
            column.name not in without and (not asked or f"c.{number}.{place}" in form or column.name in table.key),
            form.get(f"r.{number}.{place}", "").strip() or column.name, column.name not in without,
            column.name in table.key,
        )
        for place, column in enumerate(table.columns)
    )
    why_not = ""
    if why := found.why_not(table):
        why_not = f"It {why}."
    elif any(name in without for name in table.key):
        why_not = "Its key has a column without a form on the target."
    chosen = f"t.{number}" in form if asked else not why_not
    target = form.get(f"n.{number}", "").strip() or table.name
    return TableChoices(number, table, table.fingerprint(), chosen, target, columns, why_not)


def refuse_changed(tables: Sequence[TableChoices], form: Form) -> None:
    """The form names tables and columns by their places: those must be what the person saw."""
    if [form.get(f"m.{each.number}") for each in tables] + [form.get(f"m.{len(tables)}")] != [
        *(each.mark for each in tables), None
    ]:
        raise ConfigurationError("the source's tables have changed meanwhile", "look at them again, and choose anew.")


def text(document: Document, tables: Sequence[TableChoices]) -> str:
    """The pipeline's file, the chosen tables in it. Raises ConfigurationError where none is chosen."""
    chosen = [each for each in tables if each.chosen]
    if not chosen:
        raise ConfigurationError("no table is chosen", "choose one at least.")
    lines = [SCHEMA_LINE, yaml.safe_dump(document, sort_keys=False, allow_unicode=True) + "tables:"]
    for each in chosen:
        entry: Document = {"source": each.table.name}
        if each.target != each.table.name:
            entry["target"] = each.target
        wanted = [column for column in each.columns if column.chosen]
        if len(wanted) < len(each.columns):
            entry["columns"] = [column.name for column in wanted]
        renamed = {column.name: column.target for column in wanted if column.target != column.name}
        if renamed:
            entry["rename"] = renamed
        dumped = yaml.safe_dump(entry, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10_000)
        lines.append(f"  - {dumped.strip()}")
    return "\n".join(lines) + "\n"
