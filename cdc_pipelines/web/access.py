"""Who may do what: the token, sessions of browsers, proofs against forged forms, a brake on guessing."""

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

SESSION_S = 12 * 3600
COOKIE = "cdc_session"
OPEN = "open"
"""The session of everybody where no token is set."""
_TRIES = 5
_WITHIN_S = 60.0
_ADDRESSES = 10_000


class Access:
    """Without a token everybody who reaches the loopback address is let in, yet forms are proved all the same."""

    def __init__(self, token: str, *, clock: Callable[[], float] = time.time) -> None:
        self._token = token
        self._clock = clock
        # From the token: sessions outlive a restart, and end with the token. Without one, from chance.
        self._key = hashlib.sha256(b"cdc web session\0" + (token.encode() or secrets.token_bytes(32))).digest()

    @property
    def needed(self) -> bool:
        return bool(self._token)

    def is_token(self, given: str) -> bool:
        """In constant time, whatever was given."""
        digests = (hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest() for text in (given, self._token))
        return self.needed and hmac.compare_digest(*digests)

    def new_session(self) -> str:
        """The cookie's value: when it ends, a random mark, our signature."""
        body = f"{int(self._clock()) + SESSION_S}.{secrets.token_urlsafe(18)}"
        return f"{body}.{self._sign('session', body)}"

    def is_session(self, value: str) -> bool:
        body, _, signature = value.rpartition(".")
        if not hmac.compare_digest(self._sign("session", body).encode(), signature.encode("utf-8", "replace")):
            return False
        return self._clock() < int(body.split(".")[0])

    def form_proof(self, session: str) -> str:
        """What a form of this session carries: a page of another site can't read it."""
        return self._sign("form", session)

    def is_form_proof(self, session: str, given: str) -> bool:
        return hmac.compare_digest(self.form_proof(session).encode(), given.encode("utf-8", "replace"))

    def _sign(self, purpose: str, text: str) -> str:
        return hmac.new(self._key, f"{purpose}\0{text}".encode("utf-8", "replace"), hashlib.sha256).hexdigest()


@dataclass
class Failures:
    """Failed logins: after five within a minute an address is not heard for a while.

    Counted by address only: a count over all of them would let one stranger lock everybody out.
    """

    clock: Callable[[], float] = time.monotonic
    _by_address: "OrderedDict[str, deque[float]]" = field(default_factory=OrderedDict)

    def wait_s(self, address: str) -> int:
        """Seconds until this address is heard again; 0: now."""
        times = self._by_address.get(address, ())
        wait = times[0] + _WITHIN_S - self.clock() if len(times) >= _TRIES else 0
        return int(wait) + 1 if wait > 0 else 0

    def failed(self, address: str) -> None:
        self._by_address.setdefault(address, deque(maxlen=_TRIES)).append(self.clock())
        self._by_address.move_to_end(address)
        while len(self._by_address) > _ADDRESSES:
            self._by_address.popitem(last=False)

    def succeeded(self, address: str) -> None:
        self._by_address.pop(address, None)
