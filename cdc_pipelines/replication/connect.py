"""A client of Kafka Connect's REST interface that may be called twice for everything.

Connect answers 409 while its workers rebalance, and 500 after 90 s for requests that then still take effect. So every
call is tried again until its patience ends, and what may have taken effect is looked at before it is said again.
"""

import time
from collections.abc import Callable
from typing import Any, Literal
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import requests
from tenacity import Retrying, retry_if_exception, retry_if_exception_type, stop_after_delay, wait_exponential

from cdc_pipelines.replication.connect_answers import (
    ANSWER_CHARS,
    ConnectorExistsError,
    Json,
    RefusedError,
    UndecidedError,
    advice,
    brief,
    broke_reporting,
    is_missing,
    is_rebalance,
    may_pass,
    message_of,
)
from cdc_pipelines.replication.errors import CdcError, RetryableError
from cdc_pipelines.replication.secrets import redact

__all__ = ["Config", "ConnectClient", "ConnectorExistsError", "Json", "RefusedError"]

Config = dict[str, str]
InitialState = Literal["RUNNING", "PAUSED", "STOPPED"]

CONNECT_TIMEOUT_S = 5.0
# Connect itself gives up on a request after 90 s; who leaves earlier never learns how it ended.
READ_TIMEOUT_S = 95.0
_POLL_S = 0.1
# How long a configuration is said again of which it is not sure that something is wrong with it.
_REFUSAL_PATIENCE_S = 20.0
_PAUSES = wait_exponential(multiplier=0.1, max=3)


class _TryAgainError(CdcError):
    """This attempt failed in a way that passes."""


class ConnectClient:
    """One Connect cluster. `patience_s` is how long a call is tried again before it raises RetryableError."""

    def __init__(self, url: str, *, timeout_s: float = READ_TIMEOUT_S, patience_s: float = 60.0) -> None:
        parts = urlsplit(url)
        # Credentials in the URL must not show up in messages.
        host = parts.hostname or ""
        place = f"[{host}]" if ":" in host else host
        self.url = urlunsplit((parts.scheme, f"{place}:{parts.port}" if parts.port else place, parts.path.rstrip("/"),
                               "", ""))
        self._timeout_s = timeout_s
        self._patience_s = patience_s
        self._session = requests.Session()
        if parts.username:
            self._session.auth = (unquote(parts.username), unquote(parts.password or ""))

    # Asking

    def plugins(self, *, patience_s: float | None = None) -> list[Json]:
        """Connector plugins: `class`, `type`, `version`."""
        return list(self._call("GET", "/connector-plugins", patience_s=patience_s).json())

    def all(self, *expand: str) -> dict[str, Json]:
        """Every connector by name, with its `status` and `info` unless only some of them are asked for."""
        query = "&".join(f"expand={what}" for what in expand or ("status", "info"))
        return dict(self._call("GET", f"/connectors?{query}").json())

    def get(self, name: str) -> Json | None:
        """`{"name", "config", "tasks", "type"}`, None where there is no such connector."""
        found: Json | None = self._ask(_path(name), name)
        return found

    def config(self, name: str) -> Config | None:
        """The connector's configuration; None where there is no such connector."""
        found: Config | None = self._ask(_path(name, "config"), name)
        return found

    def status(self, name: str, *, patience_s: float | None = None) -> Json | None:
        """`{"connector": {"state", …}, "tasks": [{"id", "state", "trace"}], …}`; None where there is none (yet)."""
        found: Json | None = self._ask(_path(name, "status"), name, patience_s)
        return found

    def offsets(self, name: str) -> list[Json]:
        """The committed source offsets, `[{"partition", "offset"}]`; empty where nothing was committed."""
        answer = self._ask(_path(name, "offsets"), name)
        return [] if answer is None else list(answer["offsets"])

    def validate(self, config: Config) -> list[str]:
        """What Connect and the plugin find wrong with a configuration, `setting: error`; it logs in to the source."""
        path = f"/connector-plugins/{quote(config['connector.class'], safe='')}/config/validate"
        answer = self._call("PUT", path, {"name": "validated"} | config).json()
        values = [entry["value"] for entry in answer["configs"] if entry.get("value")]
        return [redact(f"{value['name']}: {error}") for value in values for error in value["errors"]]

    # Changing

    def create(self, name: str, config: Config, initial_state: InitialState = "RUNNING") -> None:
        """Create the connector, or find that it exists with exactly this configuration.

        Raises ConnectorExistsError where it exists with another one, RefusedError where Connect finds the
        configuration wrong (it also logs in to the source to tell).
        """
        body = {"name": name, "config": config, "initial_state": initial_state}
        try:
            self._configure("POST", "/connectors", body, name, config)
        except RefusedError as error:
            if error.status != requests.codes.conflict:
                raise
            if not self._has_config(name, config):
                raise ConnectorExistsError(
                    f"connector {name} already exists at {self.url} with another configuration",
                    "look at it there; delete it, or choose another name (`connect.connector` in the pipeline's file).",
                ) from error

    def put_config(self, name: str, config: Config) -> None:
        """Set the configuration, creating the connector if need be. Restarts its tasks where it changes.

        Raises RefusedError where something is wrong with it, RetryableError where Connect can't tell just now.
        """
        self._configure("PUT", _path(name, "config"), config, name, config)

    def patch_offsets(self, name: str, offsets: list[Json]) -> None:
        """Set source offsets, `[{"partition", "offset"}]`. The connector must be STOPPED; nothing is validated.

        Raises RetryableError where it is not: somebody resumed it since it was.
        """
        try:
            self._call("PATCH", _path(name, "offsets"), {"offsets": offsets}, name=name)
        except RefusedError as error:
            if "must be in the STOPPED state" not in error.answer:
                raise
            raise RetryableError(
                f"connector {name} was resumed by somebody while its offset was to be set: nothing was changed",
                "let nobody else start it meanwhile; then run the same command again.",
            ) from error

    def delete_offsets(self, name: str) -> None:
        """Forget all source offsets. The connector must be STOPPED."""
        self._call("DELETE", _path(name, "offsets"), name=name, missing_ok=True)

    def pause(self, name: str) -> bool:
        """Its tasks stay alive and send nothing. False where there is no such connector."""
        return self._put(name, "pause")

    def resume(self, name: str) -> bool:
        return self._put(name, "resume")

    def stop(self, name: str) -> bool:
        """Its tasks end. Asynchronous: wait for `STOPPED` and no tasks."""
        return self._put(name, "stop")

    def delete(self, name: str) -> bool:
        """Remove the connector; its offsets stay. False where it was gone already."""
        return not is_missing(self._call("DELETE", _path(name), name=name, missing_ok=True))

    def restart(self, name: str, *, include_tasks: bool = True, only_failed: bool = True) -> None:
        """Restart the connector and its tasks, those alone that failed unless said otherwise."""
        query = f"restart?includeTasks={str(include_tasks).lower()}&onlyFailed={str(only_failed).lower()}"
        self._call("POST", f"{_path(name)}/{query}", name=name)

    # Waiting

    def wait_state(
        self,
        name: str,
        state: str,
        *,
        deadline_s: float,
        accept: Callable[[Json], bool] = lambda status: True,
    ) -> Json:
        """The status once the connector is in `state` and `accept` agrees; a STOPPED one has no tasks left.

        Raises RetryableError after `deadline_s` seconds, naming the last status seen.
        """
        ends = time.monotonic() + deadline_s
        while True:
            status = self.status(name)
            if status is not None and status["connector"]["state"] == state:
                drained = state != "STOPPED" or not status["tasks"]
                if drained and accept(status):
                    return status
            if time.monotonic() > ends:
                raise RetryableError(
                    f"connector {name} at {self.url} is not {state} after {deadline_s:.0f} s: {brief(status)}",
                    "look at the Connect worker's log; then run the same command again.",
                )
            time.sleep(_POLL_S)

    # Inside

    def _configure(self, method: str, path: str, body: Any, name: str, config: Config) -> None:
        """Say a configuration. Connect tries it out first, logs in to the source too: that may fail for a moment."""
        for attempt in Retrying(
            stop=stop_after_delay(min(self._patience_s, _REFUSAL_PATIENCE_S)), wait=_PAUSES, reraise=True,
            retry=retry_if_exception(may_pass),
        ):
            with attempt:
                try:
                    self._call(method, path, body, name=name, done=lambda: self._has_config(name, config))
                except RefusedError as error:
                    raise self._explained(error, name, config) from error

    def _explained(self, error: RefusedError, name: str, config: Config) -> CdcError:
        """Where Connect breaks while it reports what is wrong with a configuration, what is wrong with it."""
        if not broke_reporting(error.answer):
            return error
        subject = f"connector {name}: Kafka Connect at {self.url}"
        text = "; ".join(self.validate(config))
        if text:
            return RefusedError(
                f"{subject} refused the configuration: {text}", advice(text), requests.codes.bad_request, text
            )
        return UndecidedError(
            f"{subject} refused the configuration and broke while it said why; asked again, it finds nothing wrong "
            f"with it. Its answer: {error.answer}",
            "run the same command again; the Connect worker's log says more.",
        )

    def _ask(self, path: str, name: str, patience_s: float | None = None) -> Any:
        answer = self._call("GET", path, name=name, missing_ok=True, patience_s=patience_s)
        return None if is_missing(answer) else answer.json()

    def _put(self, name: str, action: str) -> bool:
        answer = self._call("PUT", _path(name, action), name=name, missing_ok=True)
        return not is_missing(answer)

    def _has_config(self, name: str, config: Config) -> bool:
        found = self.config(name)
        return found is not None and found == config | {"name": name}

    def _call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        name: str = "",
        missing_ok: bool = False,
        done: Callable[[], bool] | None = None,
        patience_s: float | None = None,
    ) -> requests.Response:
        """Send until Connect takes it. `done` is asked before a request is said again: did it take effect?"""
        patience = self._patience_s if patience_s is None else patience_s
        what = f"{method} {self.url}{path.split('?')[0]}"
        answer = requests.Response()
        try:
            for attempt in Retrying(
                stop=stop_after_delay(patience),
                wait=_PAUSES,
                retry=retry_if_exception_type(_TryAgainError),
                reraise=True,
            ):
                with attempt:
                    if attempt.retry_state.attempt_number > 1 and done is not None and done():
                        return answer
                    answer = self._once(method, path, body)
        except _TryAgainError as error:
            subject = f"connector {name}: " if name else ""
            raise RetryableError(
                f"{subject}{what} was not answered well within {patience:.0f} s; last answer: {error.message}",
                "see that Kafka Connect runs and is reachable there, then run the same command again.",
            ) from error
        if missing_ok and is_missing(answer):
            return answer
        if answer.status_code >= requests.codes.bad_request:
            text = message_of(answer)
            raise RefusedError(
                f"{f'connector {name}: ' if name else ''}Kafka Connect refused {what}: "
                f"{answer.status_code} {text}", advice(text), answer.status_code, text,
            )
        return answer

    def _once(self, method: str, path: str, body: Any) -> requests.Response:
        try:
            answer = self._session.request(
                method, self.url + path, json=body, timeout=(CONNECT_TIMEOUT_S, self._timeout_s),
                headers={"Accept": "application/json"},
            )
        except requests.RequestException as error:
            raise _TryAgainError(redact(f"{type(error).__name__}: {error}")[:ANSWER_CHARS]) from error
        broken = answer.status_code >= requests.codes.server_error and not broke_reporting(message_of(answer))
        if broken or is_rebalance(answer):
            raise _TryAgainError(f"{answer.status_code} {message_of(answer)}")
        return answer


def _path(name: str, *more: str) -> str:
    return "/".join(["/connectors", quote(name, safe=""), *more])
