"""The declared pipeline: what `pipelines/<name>.yaml` may say, and the names that follow from it."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from cdc_pipelines.replication import secrets
from cdc_pipelines.replication.alerts.settings import Alerts
from cdc_pipelines.replication.carry.settings import Carry
from cdc_pipelines.replication.column_shape import ColumnShapes
from cdc_pipelines.replication.health.settings import Health
from cdc_pipelines.replication.row_shape import RowShape
from cdc_pipelines.replication.schedules import Schedules
from cdc_pipelines.replication.schema_policy import SchemaChanges
from cdc_pipelines.replication.strict import Strict, require_reference
from cdc_pipelines.replication.value_rules import Values

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Identifier = Annotated[str, StringConstraints(min_length=1, max_length=64)]
TopicName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,180}$")]

_LARGEST_ID = 2**63 - 1  # of a bigint, in which the control store keeps it


class Tls(Strict):
    """Transport encryption to a database server."""

    mode: Literal["disable", "prefer", "require", "verify_ca", "verify_identity"] = Field(
        "prefer", description="How much is asked of the server's certificate."
    )
    ca: str | None = Field(None, description="Path of the certificate authority's PEM file.")
    cert: str | None = Field(None, description="Path of the client certificate's PEM file.")
    key: str | None = Field(None, description="Path of the client key's PEM file.")

    @model_validator(mode="after")
    def _ca_given(self) -> Self:
        if self.mode in ("verify_ca", "verify_identity") and not self.ca:
            raise ValueError(f"tls.mode {self.mode} needs tls.ca, the certificate authority's PEM file")
        return self


class Server(Strict):
    """Where a database server is and how to log in. `${env:NAME:-default}` may stand in any of these."""

    host: str = Field(description="Host name or address.", min_length=1)
    port: int | str = Field(description="TCP port, or a ${env:NAME} reference to it.")
    database: Identifier = Field(description="Name of the database (MySQL: the schema).")
    user: str = Field(description="Login name.", min_length=1)
    password: str = Field(description="A reference: ${env:NAME} or ${file:/path}. Never the password itself.")
    tls: Tls = Field(default_factory=Tls, description="Transport encryption.")

    @field_validator("password")
    @classmethod
    def _password_is_reference(cls, value: str) -> str:
        return require_reference(value, "password")

    @field_validator("port")
    @classmethod
    def _port_is_number_or_reference(cls, value: int | str) -> int | str:
        if isinstance(value, int) and not 1 <= value <= 65535:
            raise ValueError(f"port {value} is not between 1 and 65535")
        if isinstance(value, str) and not secrets.is_reference(value):
            raise ValueError("port must be a number or one ${env:NAME} reference")
        return value

    def resolved_host(self) -> str:
        return secrets.resolve(self.host)

    def resolved_port(self) -> int:
        return int(secrets.resolve(str(self.port)))

    def resolved_user(self) -> str:
        return secrets.resolve(self.user)

    def resolved_password(self) -> str:
        return secrets.resolve_secret(self.password)


class Source(Server):
    """The database whose tables are replicated."""

    type: Literal["mysql", "mariadb"] = Field(description="Kind of the source server.")
    connect_host: str | None = Field(
        None, description="Host under which Kafka Connect reaches the source, where it differs from `host`."
    )
    connect_port: int | str | None = Field(None, description="Port likewise.")
    connect_password: str | None = Field(
        None,
        description="The password's reference as a config provider of the Connect worker resolves it; "
        "by default the same variable or file as `password`.",
    )
    locking: Literal["brief", "none"] = Field(
        "brief",
        description="`brief`: a table lock of milliseconds while snapshots open, so that the position is exact. "
        "`none`: no lock; needs GTIDs (MySQL) and a key on every table. MariaDB never needs the lock.",
    )


class Target(Server):
    """The database that is kept equal."""

    type: Literal["postgres"] = Field(description="Kind of the target server.")
    schema_: Identifier = Field("public", alias="schema", description="Schema that receives the tables.")


class Connect(Strict):
    """The Kafka Connect worker that runs Debezium."""

    url: str = Field("${env:CDC_CONNECT_URL:-http://127.0.0.1:8083}", description="Base URL of its REST interface.")
    connector: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,120}$")] | None = Field(
        None, description="Name of the connector; `cdc_{client}_{config}` by default."
    )
    server_id: int | None = Field(
        None,
        ge=1,
        le=4294967295,
        description="Replica id under which Debezium reads the log, unique among all replicas; derived by default.",
    )
    config: dict[str, str] = Field(
        default_factory=dict,
        description="Further connector settings. Those that the exact hand-over depends on are refused.",
    )


class Kafka(Strict):
    """The Kafka cluster that holds the change log."""

    bootstrap_servers: str = Field(
        "${env:CDC_KAFKA_BOOTSTRAP:-127.0.0.1:9092}", description="Comma-separated host:port list."
    )
    connect_bootstrap_servers: str | None = Field(
        None, description="The same as seen from the Connect worker, where it differs (schema history)."
    )
    topic_prefix: TopicName | None = Field(None, description="`client_{client}_db_{config}` by default.")
    replication_factor: int = Field(1, ge=1, le=32767, description="Replicas of the pipeline's topics.")
    max_message_bytes: int = Field(
        64 * 1024 * 1024, ge=1024 * 1024, description="Largest event, in bytes; for topic and producer alike."
    )
    log_keep_hours: float | None = Field(
        24,
        ge=0,
        description="How long changes stay in the change log once they are applied; older ones are deleted from it. "
        "A target that falls back in time (a crash, a standby that takes over) can catch up from there. "
        "`null`: the log is never trimmed.",
    )
    client: dict[str, str] = Field(
        default_factory=dict,
        description="Further librdkafka client settings (security.protocol, sasl.*); values may be references.",
    )


class TableChoice(Strict):
    """One table of the source and how it lands."""

    source: Identifier = Field(description="Table name on the source.")
    target: Identifier | None = Field(None, description="Table name on the target; the same by default.")
    columns: list[Identifier] | None = Field(None, description="Columns to replicate; all by default. Keys must be in.")
    rename: dict[Identifier, Identifier] = Field(default_factory=dict, description="Source column → target column.")


class TableShape(ColumnShapes, RowShape):
    """What becomes of one table on its way to the target. See docs/shaping.md."""


class Copy(Strict):
    """How the initial copy is done."""

    workers: int = Field(2, ge=1, le=64, description="Parallel readers, each with its own snapshot session.")
    chunk_mb: int = Field(32, ge=1, le=4096, description="Aimed size of a chunk, in MiB of source data.")
    shards: int = Field(4, ge=1, le=64, description="Fan-out steps of a Dagster run.")
    early_connector_minutes: float = Field(
        60, ge=0,
        description="A copy that may take longer than this, or than a third of the time for which the source keeps its "
        "log, gets its connector before it begins, so that the source may purge its log meanwhile. 0: every copy.",
    )
    lock_wait_seconds: int = Field(
        5, ge=1, le=5, description="How long the brief lock may wait for running statements, per try."
    )


class Apply(Strict):
    """How the consumer applies the change log."""

    run_events: int = Field(20_000, ge=1, description="Events of one target transaction, if source transactions allow.")
    run_mb: int = Field(
        64,
        ge=1,
        description="Memory bound of a run in MiB; larger transactions are applied in parts "
        "inside one target transaction.",
    )
    idle_commit_seconds: float = Field(
        2.0, gt=0, description="How often progress is stored while only heartbeats come."
    )
    quarantine: bool = Field(
        True, description="Whether a table of which the target refuses a change is set apart, so that the others go "
        "on; else the pipeline stops there."
    )


class Verify(Strict):
    """How the consumer's process compares both sides in the background, all tables in turn."""

    background: bool = Field(True, description="Whether it does so at all.")
    round_hours: float = Field(
        24, gt=0, description="Hours between two comparisons of a table; one that was verified meanwhile counts."
    )
    busy_percent: float = Field(
        5, gt=0, le=100, description="Part of the time that is spent comparing; in between it rests."
    )


class Pipeline(Strict):
    """One source database → one target database, and the tables between them."""

    name: Name = Field(description="The pipeline's name; the file's stem.")
    client: int = Field(1, ge=0, le=_LARGEST_ID, description="Id of the client (tenant) that the pipeline belongs to.")
    config: int = Field(ge=0, le=_LARGEST_ID, description="Id of this configuration, unique within the control store.")
    source: Source
    target: Target
    connect: Connect = Field(default_factory=Connect)
    kafka: Kafka = Field(default_factory=Kafka)
    tables: Literal["all"] | list[TableChoice] = Field(
        "all", description="`all` tables of the source database, or a list."
    )
    exclude: list[Identifier] = Field(default_factory=list, description="Tables left out when `tables` is `all`.")
    values: Values = Field(default_factory=Values)
    shape: dict[Identifier, TableShape] = Field(
        default_factory=dict, description="Tables that are not to land as they are: table → what becomes of it."
    )
    copy_: Copy = Field(default_factory=Copy, alias="copy")
    carry: Carry = Field(default_factory=Carry)
    apply: Apply = Field(default_factory=Apply)
    schema_changes: SchemaChanges = Field(default_factory=SchemaChanges)
    verify: Verify = Field(default_factory=Verify)
    health: Health = Field(default_factory=Health)
    alerts: Alerts = Field(default_factory=Alerts)
    schedules: Schedules = Field(default_factory=Schedules)

    @field_validator("tables", mode="before")
    @classmethod
    def _names_alone(cls, value: Any) -> Any:
        """A bare name in the list is the table with nothing changed."""
        if isinstance(value, list):
            return [{"source": item} if isinstance(item, str) else item for item in value]
        return value

    @model_validator(mode="after")
    def _tables_once(self) -> Self:
        if isinstance(self.tables, list):
            if not self.tables:
                raise ValueError("tables is an empty list; name at least one table, or say `all`")
            for attribute in ("source", "target"):
                names = [t.source if attribute == "source" else (t.target or t.source) for t in self.tables]
                twice = sorted({n for n in names if names.count(n) > 1})
                if twice:
                    raise ValueError(f"tables name the same {attribute} more than once: {', '.join(twice)}")
            if self.exclude:
                raise ValueError("exclude goes with `tables: all` only")
        return self

    @property
    def pair(self) -> tuple[str, str]:
        """The types of the source's and the target's server."""
        return self.source.type, self.target.type

    @property
    def connector_name(self) -> str:
        return self.connect.connector or f"cdc_{self.client}_{self.config}"

    @property
    def topic_prefix(self) -> str:
        """Debezium's topic.prefix, which is also the `server` of its source partition."""
        return self.kafka.topic_prefix or f"client_{self.client}_db_{self.config}"

    def log_topic(self, generation: int) -> str:
        """The change log of one generation."""
        return f"{self.topic_prefix}.g{generation}.log"

    def history_topic(self, generation: int, attempt: int) -> str:
        """The schema history of one connector: never reused, a stale one would be decoded by."""
        return f"{self.topic_prefix}.g{generation}.history.{attempt}"

    def offsets_topic(self, generation: int, attempt: int) -> str:
        """Where one connector's source offsets are kept, apart from all others'."""
        return f"{self.topic_prefix}.g{generation}.offsets.{attempt}"

    def consumer_group(self, unix_time: int) -> str:
        return f"cdc_consumer_{self.client}_{self.config}_{unix_time}"

    @property
    def server_id(self) -> int:
        """The replica id: given, or derived from client and config above the range people number servers in."""
        if self.connect.server_id is not None:
            return self.connect.server_id
        return 1_000_000_000 + (self.client * 1_000_003 + self.config * 7_919) % 3_000_000_000
