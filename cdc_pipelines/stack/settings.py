"""The one file of facts about the local stack, `stack.env`, and typed access to it.

`cdc stack up` writes it; tests, the demo and a developer's shell read it. It holds passwords, hence mode 600.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from cdc_pipelines.stack.errors import StackError

HOST = "127.0.0.1"
_PROJECT_ROOT = Path(__file__).resolve().parents[2]

_PASSWORDS = (
    "CDC_STACK_MYSQL_ROOT_PASSWORD",
    "CDC_STACK_MYSQL_PASSWORD",
    "CDC_STACK_MARIADB_ROOT_PASSWORD",
    "CDC_STACK_MARIADB_PASSWORD",
    "CDC_STACK_POSTGRES_PASSWORD",
    "CDC_STACK_POSTGRES_SUPERUSER_PASSWORD",
)
_FIXED = {
    "CDC_STACK_MYSQL_USER": "cdc",
    "CDC_STACK_MARIADB_USER": "cdc",
    "CDC_STACK_POSTGRES_USER": "cdc",
    "CDC_STACK_POSTGRES_SUPERUSER": "postgres",
}


def stack_home() -> Path:
    """The stack's folder: `CDC_STACK_HOME`, else `.stack` of the project."""
    chosen = os.environ.get("CDC_STACK_HOME")
    return Path(chosen).expanduser().resolve() if chosen else _PROJECT_ROOT / ".stack"


def env_file() -> Path:
    return stack_home() / "stack.env"


def load_env() -> dict[str, str]:
    """All KEY=VALUE pairs of `stack.env`; raises if the stack was never started."""
    path = env_file()
    try:
        return _parse(path.read_text())
    except FileNotFoundError:
        raise StackError(f"{path} does not exist: the local stack was never started; run `cdc stack up`") from None


def save_env(values: dict[str, str]) -> None:
    """Replace `stack.env`, whole or not at all."""
    path = env_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".stack.env.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write("# Facts of the local stack, written by `cdc stack up`. Holds passwords: do not share.\n")
        file.writelines(f"{key}={value}\n" for key, value in values.items())
    temporary.replace(path)


def load_or_create_env() -> dict[str, str]:
    """What is on file, completed by names and random passwords for whatever is missing."""
    values = _parse(env_file().read_text()) if env_file().exists() else {}
    for key, value in _FIXED.items():
        values.setdefault(key, value)
    for key in _PASSWORDS:
        values.setdefault(key, secrets.token_hex(16))
    return values


def passwords(values: dict[str, str]) -> dict[str, str]:
    """The secrets among `values`: what the Connect worker's environment must hold."""
    return {key: value for key, value in values.items() if key.endswith("_PASSWORD")}


def _parse(text: str) -> dict[str, str]:
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {key.strip(): value for key, value in pairs}


@dataclass(frozen=True)
class ServerAccess:
    """How to reach one database server: as the replicating user and as its administrator."""

    port: int
    user: str
    password: str = field(repr=False)
    admin_user: str
    admin_password: str = field(repr=False)
    host: str = HOST


@dataclass(frozen=True)
class StackSettings:
    """Typed view of `stack.env`."""

    mysql: ServerAccess
    mariadb: ServerAccess
    postgres: ServerAccess
    kafka_bootstrap: str
    connect_url: str
    postgres_target_database: str = "cdc_target"
    postgres_dagster_database: str = "dagster"

    @classmethod
    def from_env(cls, values: dict[str, str]) -> StackSettings:
        try:
            return cls(
                mysql=_access(values, "MYSQL", "root", "ROOT_PASSWORD"),
                mariadb=_access(values, "MARIADB", "root", "ROOT_PASSWORD"),
                postgres=_access(
                    values, "POSTGRES", values["CDC_STACK_POSTGRES_SUPERUSER"], "SUPERUSER_PASSWORD"
                ),
                kafka_bootstrap=values["CDC_STACK_KAFKA_BOOTSTRAP"],
                connect_url=values["CDC_STACK_CONNECT_URL"],
            )
        except KeyError as missing:
            raise StackError(f"{env_file()} lacks {missing.args[0]}; run `cdc stack up` to complete it") from None


def load_settings() -> StackSettings:
    """Typed access to the stack on file."""
    return StackSettings.from_env(load_env())


def _access(values: dict[str, str], server: str, admin: str, admin_key: str) -> ServerAccess:
    prefix = f"CDC_STACK_{server}_"
    return ServerAccess(
        port=int(values[prefix + "PORT"]),
        user=values[prefix + "USER"],
        password=values[prefix + "PASSWORD"],
        admin_user=admin,
        admin_password=values[prefix + admin_key],
    )
