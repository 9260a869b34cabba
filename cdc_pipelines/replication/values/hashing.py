"""A value's SHA-256, or its HMAC (RFC 2104) under a secret key: the same 64 hex digits here and by the source's SQL.

MySQL and MariaDB have no HMAC: two nested hashes make it. The two blocks that the key turns into stand in variables of
the session, so that they are in one statement per session instead of in every query.
"""

import hashlib
import hmac
from collections.abc import Callable

from cdc_pipelines.replication import secrets
from cdc_pipelines.replication.errors import ConfigurationError

_BLOCK = 64  # bytes that SHA-256 takes at once
_LEAST_KEY = 16  # bytes
_CHECKED = b"cdc_pipelines: the key of a hashed column"


def key_check(reference: str, where: str) -> str:
    """What tells one key from another and is no secret. Raises ConfigurationError for a key that can't be had."""
    return _check(_key(reference, where))


def sql_hash(value: str) -> str:
    """SQL for the SHA-256 of `value`, SQL for bytes or a UTF-8 text."""
    return f"sha2({value},256)"


def sql_hmac(value: str, check: str) -> str:
    """Likewise for the HMAC. The session must have run what `session_keys` gives."""
    inner, outer = _variables(check)
    return f"sha2(concat({outer},unhex(sha2(concat({inner},cast({value} as binary)),256))),256)"


def session_keys(reference: str, check: str, where: str) -> str:
    """The statement that lets a session compute `sql_hmac`. Raises ConfigurationError where the key is another now."""
    key = _same_key(reference, check, where)
    block = (hashlib.sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
    inner, outer = (bytes(byte ^ pad for byte in block).hex() for pad in (0x36, 0x5C))
    secrets.remember(inner)
    secrets.remember(outer)
    names = _variables(check)
    return f"set {names[0]}=x'{inner}',{names[1]}=x'{outer}'"


def plain_hash(value: bytes) -> str:
    return hashlib.sha256(value).hexdigest()


def keyed_hash(reference: str, check: str, where: str) -> Callable[[bytes], str]:
    """The HMAC under that key. Raises ConfigurationError where the key is another now."""
    begun = hmac.new(_same_key(reference, check, where), digestmod="sha256")

    def digest(value: bytes) -> str:
        own = begun.copy()
        own.update(value)
        return own.hexdigest()

    return digest


def _variables(check: str) -> tuple[str, str]:
    return f"@cdc_key_{check}_inner", f"@cdc_key_{check}_outer"


def _key(reference: str, where: str) -> bytes:
    key = secrets.resolve_secret(reference).encode()
    if len(key) < _LEAST_KEY:
        raise ConfigurationError(
            f"column {where}: the key {reference} has {len(key)} bytes, and could be guessed",
            f"give a random one of {_LEAST_KEY} bytes or more, for instance of `openssl rand -hex 32`.",
        )
    return key


def _same_key(reference: str, check: str, where: str) -> bytes:
    key = _key(reference, where)
    if not hmac.compare_digest(_check(key), check):
        raise ConfigurationError(
            f"column {where}: {reference} holds another key than the one that the target's values were hashed with",
            "put the former key back; or take the new one: `cdc configure FILE`, then `cdc start NAME` copies the "
            "table again.",
        )
    return key


def _check(key: bytes) -> str:
    return hmac.new(key, _CHECKED, "sha256").hexdigest()[:16]
