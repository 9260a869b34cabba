"""What the demo runs on: the stack, the pipeline's file, the environment of every process it starts."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psycopg
import pymysql

from cdc_pipelines.replication.pipeline import Pipeline
from cdc_pipelines.replication.pipeline_file import load_pipeline
from cdc_pipelines.stack.settings import StackSettings, load_env

PROJECT = Path(__file__).resolve().parents[2]


class DemoFailedError(Exception):
    """Something that the demo shows did not hold. The text says what, and where to look."""


@dataclass(frozen=True)
class Scene:
    """One demo: a pipeline on the local stack. `env` is what its processes get."""

    file: Path
    pipeline: Pipeline
    stack: StackSettings
    env: dict[str, str] = field(repr=False)
    dagster_database: str = "dagster"

    @classmethod
    def of(cls, file: Path, dagster_database: str = "dagster") -> Self:
        """The scene of a pipeline's file. The stack's facts go into this process's environment too."""
        values = load_env()
        os.environ.update(values)
        # A container's processes end with it, and so may the demo's: the agent may be started here.
        os.environ.setdefault("CDC_AGENT_AUTOSTART", "1")
        os.environ.setdefault("CDC_HOME", str(PROJECT / ".cdc"))
        os.environ["CDC_PIPELINES_DIR"] = str(file.resolve().parent)
        return cls(file, load_pipeline(file), StackSettings.from_env(values), dict(os.environ), dagster_database)

    @property
    def home(self) -> Path:
        """The folder of the control store, the consumers' logs and Dagster's files."""
        return Path(self.env["CDC_HOME"]).resolve()

    @property
    def name(self) -> str:
        return self.pipeline.name

    @property
    def schema(self) -> str:
        """The target schema."""
        return self.pipeline.target.schema_

    def cdc(self, *words: str | Path, expect: tuple[int, ...] = (0,)) -> str:
        """Run a `cdc` command as a user would and give its standard output.

        Raises DemoFailedError with the command and its own message where it ends in another way than expected.
        """
        done = subprocess.run(
            [sys.executable, "-m", "cdc_pipelines.cli", *map(str, words)],
            cwd=PROJECT, env=self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )
        if done.returncode not in expect:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise DemoFailedError("\n".join(
                [f"`cdc {' '.join(map(str, words))}` ended with exit code {done.returncode}:", *said[-15:]]
            ))
        return done.stdout

    def cdc_json(self, *words: str | Path, expect: tuple[int, ...] = (0,)) -> Any:
        """The same with `--json`, parsed."""
        return json.loads(self.cdc(*words, "--json", expect=expect))

    def admin(self) -> pymysql.Connection:
        """An administrator's connection to the source server."""
        server = self.stack.mysql if self.pipeline.source.type == "mysql" else self.stack.mariadb
        return pymysql.connect(
            host=server.host, port=server.port, user=server.admin_user, password=server.admin_password,
            charset="utf8mb4", autocommit=True, init_command="SET time_zone = '+00:00'",
        )

    def source(self) -> pymysql.Connection:
        """An administrator's connection to the source database."""
        connection = self.admin()
        connection.select_db(self.pipeline.source.database)
        return connection

    def target(self) -> psycopg.Connection:
        """A connection to the target database that looks into the target schema first."""
        target = self.pipeline.target
        connection = psycopg.connect(
            host=target.resolved_host(), port=target.resolved_port(), user=target.resolved_user(),
            password=target.resolved_password(), dbname=target.database, autocommit=True,
        )
        connection.execute("SELECT set_config('search_path', quote_ident(%s), false)", (self.schema,))
        return connection
