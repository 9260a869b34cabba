"""Configured pipelines: what they are, how they stand, what is wanted of them."""

import json
import logging
import re
from collections.abc import Sequence
from typing import Any

import msgspec
from pydantic import ValidationError
from sqlalchemy import ColumnElement, Connection, Row, delete, insert, select, update

from cdc_pipelines.replication.catalog import MappedTable, to_json
from cdc_pipelines.replication.control import models
from cdc_pipelines.replication.control.base import StoreBase, safe
from cdc_pipelines.replication.control.engine import now
from cdc_pipelines.replication.control.records import STATUSES, Desired, DesiredState, PipelineRecord, Status
from cdc_pipelines.replication.errors import ConfigurationError, NotConfiguredError
from cdc_pipelines.replication.pipeline import Pipeline

_log = logging.getLogger(__name__)
_SECRET_KEY = re.compile(
    r"(passw|secret|token|jaas|credential|(private|api|access)[._-]?key)(?!.*(url|uri|location|path|file|ms|class)$)",
    re.IGNORECASE,
)
_REFERENCE = re.compile(r"\$\{[^}]+\}")  # ours, and those of Connect's other config providers
_SAVE_KEY = 0x6364_635F_7361_7665  # "cdc_save"


class PipelineStore(StoreBase):
    """Pipelines by name."""

    def save_pipeline(self, spec: Pipeline, file_text: str, tables: Sequence[MappedTable]) -> PipelineRecord:
        """Insert a pipeline as `configured`, inactive and stopped; or replace the definition of one that is there.

        What runs goes on and keeps its status: a new definition takes effect at the next start. Raises
        ConfigurationError where another pipeline has its config id, connector or topic prefix, or where the file
        holds a literal secret.
        """
        _refuse_secrets(spec)
        p = models.pipelines
        with self._write() as connection:
            self._serialise(connection, _SAVE_KEY)
            _refuse_clashes(spec, connection)
            moment = now(connection)
            definition = {
                "client": spec.client,
                "config": spec.config,
                "spec": spec.model_dump_json(by_alias=True),
                "file_text": file_text,
                "tables": to_json(tuple(tables)),
                "configured_at": moment,
                "updated_at": moment,
            }
            changed = connection.execute(update(p).where(p.c.name == spec.name).values(definition)).rowcount
            if not changed:
                connection.execute(
                    insert(p).values(
                        definition | {
                            "name": spec.name, "status": "configured", "is_active": False, "desired": "stopped",
                            "desired_revision": 0, "message": "",
                        }
                    )
                )
            return _record(_row(connection, p.c.name == spec.name))

    def get(self, name: str) -> PipelineRecord:
        """Raises NotConfiguredError, which names those that there are."""
        with self._read() as connection:
            return _record(_row(connection, models.pipelines.c.name == name, name))

    def by_config(self, config: int) -> PipelineRecord:
        """The pipeline of a config id. Raises NotConfiguredError."""
        with self._read() as connection:
            return _record(_row(connection, models.pipelines.c.config == config, f"with config id {config}"))

    def list(self) -> Sequence[PipelineRecord]:
        """All pipelines by name. One that this version can't read is left out, and said in the log."""
        with self._read() as connection:
            rows = connection.execute(select(models.pipelines).order_by(models.pipelines.c.name)).all()
        records = []
        for row in rows:
            try:
                records.append(_record(row))
            except ConfigurationError as error:
                _log.error("left out of the list: %s", error)
        return records

    def delete(self, name: str) -> None:
        """Forget a pipeline; the diary and its lease stay. Nothing happens where it isn't there."""
        with self._write() as connection:
            # In the order in which a heartbeat writes: the two must not wait for each other.
            for table in (models.assignments, models.heartbeats, models.exits):
                connection.execute(delete(table).where(table.c.pipeline == name))
            connection.execute(delete(models.pipelines).where(models.pipelines.c.name == name))

    def set_status(
        self, name: str, status: Status, *, is_active: bool | None = None, message: str | None = None,
        generation: int | None = None, if_revision: int | None = None,
    ) -> bool:
        """How the pipeline stands; None leaves a field as it is.

        With `if_revision` nothing happens unless that is still the last word about what is desired: the failure of
        an old consumer must not overwrite a new start. Returns whether it was written.
        """
        if status not in STATUSES:
            raise ValueError(f"{status!r} is no status; one of {', '.join(STATUSES)}")
        values: dict[str, Any] = {"status": status}
        if is_active is not None:
            values["is_active"] = is_active
        if message is not None:
            values["message"] = safe(message)
        if generation is not None:
            values["generation"] = generation
        return self._change(name, values, if_revision)

    def set_tables(self, name: str, tables: Sequence[MappedTable]) -> None:
        """The tables as the stream has followed them; what the file says of the pipeline stays."""
        self._change(name, {"tables": to_json(tuple(sorted(tables, key=lambda t: t.name)))}, None)

    def set_desired(
        self, name: str, desired: Desired, *, group: str | None = None, generation: int | None = None
    ) -> None:
        """What the agent shall see to. Every call is a new word: a consumer held back after a failure may start."""
        if desired not in ("running", "stopped"):
            raise ValueError(f"{desired!r} can't be desired; running or stopped")
        values: dict[str, Any] = {
            "desired": desired, "desired_revision": models.pipelines.c.desired_revision + 1
        }
        if group is not None:
            values["consumer_group"] = group
        if generation is not None:
            values["generation"] = generation
        self._change(name, values, None)

    def desired_states(self) -> Sequence[DesiredState]:
        """What is desired of all pipelines: little to read, for loops."""
        p = models.pipelines.c
        with self._read() as connection:
            rows = connection.execute(
                select(p.name, p.desired, p.desired_revision, p.consumer_group, p.status).order_by(p.name)
            ).all()
        return [DesiredState(r.name, r.desired, r.desired_revision, r.consumer_group, r.status) for r in rows]

    def _change(self, name: str, values: dict[str, Any], if_revision: int | None) -> bool:
        p = models.pipelines
        with self._write() as connection:
            where = [p.c.name == name]
            if if_revision is not None:
                where.append(p.c.desired_revision == if_revision)
            changed = connection.execute(
                update(p).where(*where).values(values | {"updated_at": now(connection)})
            ).rowcount
            if not changed:
                _row(connection, p.c.name == name, name)
            return bool(changed)


def _row(connection: Connection, where: ColumnElement[bool], wanted: str = "") -> Row[Any]:
    row = connection.execute(select(models.pipelines).where(where)).first()
    if row is None:
        names = connection.execute(select(models.pipelines.c.name).order_by(models.pipelines.c.name)).scalars().all()
        raise NotConfiguredError(
            f"no pipeline {wanted} is configured" + (f"; there are {', '.join(names)}" if names else ""),
            "run `cdc configure FILE` with the pipeline's file; `cdc list` shows all.",
        )
    return row


def _record(row: Row[Any]) -> PipelineRecord:
    try:
        spec = Pipeline.model_validate_json(row.spec)
        tables = msgspec.json.decode(row.tables, type=tuple[MappedTable, ...])
    except (ValidationError, msgspec.DecodeError) as error:
        reason = error.errors(include_url=False)[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise ConfigurationError(
            f"pipeline {row.name} was saved by another version of cdc_pipelines, which this one can't read: {reason}",
            "run `cdc configure FILE` again with its file.",
        ) from None
    return PipelineRecord(
        name=row.name, client=row.client, config=row.config, spec=spec, file_text=row.file_text, tables=tables,
        status=row.status, is_active=row.is_active, desired=row.desired, desired_revision=row.desired_revision,
        generation=row.generation, consumer_group=row.consumer_group, connector=spec.connector_name,
        message=row.message, configured_at=row.configured_at, updated_at=row.updated_at,
        last_sync_at=row.last_sync_at,
    )


def _refuse_clashes(spec: Pipeline, connection: Connection) -> None:
    """Two pipelines with one id, connector or topic prefix would take each other's stream apart."""
    p = models.pipelines.c
    for row in connection.execute(select(p.name, p.config, p.spec).where(p.name != spec.name)).all():
        other = json.loads(row.spec)
        same = []
        if row.config == spec.config:
            same.append(f"config id {spec.config}")
        try:
            theirs = Pipeline.model_validate(other)
        except ValidationError:
            theirs = None
        if theirs is not None:
            if (theirs.connect.url, theirs.connector_name) == (spec.connect.url, spec.connector_name):
                same.append(f"connector name {spec.connector_name}")
            kafka = (theirs.kafka.bootstrap_servers, theirs.topic_prefix)
            if kafka == (spec.kafka.bootstrap_servers, spec.topic_prefix):
                same.append(f"topic prefix {spec.topic_prefix}")
        if same:
            raise ConfigurationError(
                f"pipeline {spec.name}: {' and '.join(same)} belong(s) to pipeline {row.name} already",
                "give this pipeline another `config` in its file (connector and topic prefix follow from it), "
                f"or tear {row.name} down.",
            )


def _refuse_secrets(spec: Pipeline) -> None:
    """Passwords of the servers are references by their type; free settings can hold anything."""
    found = [
        f"{place}.{key}"
        for place, settings in (("kafka.client", spec.kafka.client), ("connect.config", spec.connect.config))
        for key, value in settings.items()
        if _SECRET_KEY.search(key) and not _is_referred(value)
    ]
    if re.search(r"://[^/@:]*:(?!\$\{)[^/@]+@", spec.connect.url):
        found.append("connect.url")
    if found:
        raise ConfigurationError(
            f"pipeline {spec.name}: {', '.join(found)} hold(s) a secret as plain text, which would be stored",
            "give it as a reference: ${env:NAME} or ${file:/path}.",
        )


def _is_referred(value: str) -> bool:
    """Whether a value refers to its secret, without a default that would be the secret itself."""
    return _REFERENCE.search(value) is not None and ":-" not in value
