"""What every request passes before anything of ours looks at it, and the headers of every answer."""

from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cdc_pipelines.web import problems
from cdc_pipelines.web.access import COOKIE, OPEN, Access, Failures
from cdc_pipelines.web.problems import ProblemError
from cdc_pipelines.web.settings import WebSettings

BODY_LIMIT = 512 * 1024
"""Bytes. A pipeline's file of a thousand tables has about 100 KB."""
_SAFE = ("GET", "HEAD", "OPTIONS")
_FREE = ("/login", "/static/")
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Guard:
    """ASGI middleware. Puts the caller's session into `scope["state"]["session"]`."""

    def __init__(self, app: ASGIApp, *, settings: WebSettings, access: Access, failures: Failures) -> None:
        self._app = app
        self._settings = settings
        self._access = access
        self._failures = failures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return  # web sockets: there are none

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            refused = self._refusal(scope)
            if refused is None:
                receive = await _whole_body(scope, receive)
        except ProblemError as error:
            refused = problems.answer(error.problem, error.headers)
        await (refused or self._app)(scope, receive, with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        """An answer in place of the wanted one, if there must be one."""
        headers = Headers(scope=scope)
        self._check_host(headers)
        if scope["method"] not in _SAFE:
            _check_origin(headers)
        state = scope.setdefault("state", {})
        state["session"] = OPEN
        path = scope["path"]
        if not self._access.needed or path.startswith(_FREE):
            return None
        if session := self._session(headers):
            state["session"] = session
            return None
        is_api = path.startswith(problems.API)
        if "authorization" in headers:
            self._check_bearer(scope, headers["authorization"])
            if is_api:
                return None
        if is_api:
            raise ProblemError(
                HTTPStatus.UNAUTHORIZED, "not_logged_in", "Log in", "the request carries no token",
                "send `Authorization: Bearer` with the value of CDC_WEB_TOKEN.", {"WWW-Authenticate": "Bearer"},
            )
        return RedirectResponse(f"/login?next={quote(path)}", HTTPStatus.SEE_OTHER)

    def _check_host(self, headers: Headers) -> None:
        host = urlsplit(f"//{headers.get('host', '')}").netloc
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if not self._settings.accepts_host(name):
            raise ProblemError(
                HTTPStatus.MISDIRECTED_REQUEST, "unknown_host", "Unknown host",
                f"this server is not called {name or 'nothing'}",
                "use http://127.0.0.1; or name the host in CDC_WEB_HOSTS, if people shall reach it under that name.",
            )

    def _session(self, headers: Headers) -> str:
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return ""
        return cookie.value if cookie is not None and self._access.is_session(cookie.value) else ""

    def _check_bearer(self, scope: Scope, value: str) -> None:
        address = scope["client"][0] if scope.get("client") else "?"
        refuse_guessers(self._failures, address)
        kind, _, token = value.partition(" ")
        if kind.lower() == "bearer" and self._access.is_token(token.strip()):
            return
        self._failures.failed(address)
        raise ProblemError(
            HTTPStatus.UNAUTHORIZED, "wrong_token", "Log in", "the token is not the right one",
            "send `Authorization: Bearer` with the value of CDC_WEB_TOKEN.", {"WWW-Authenticate": "Bearer"},
        )


def refuse_guessers(failures: Failures, address: str) -> None:
    if wait := failures.wait_s(address):
        raise ProblemError(
            HTTPStatus.TOO_MANY_REQUESTS, "too_many_failures", "Too many failed logins",
            "too many wrong tokens came from this address", f"wait {wait} s.", {"Retry-After": str(wait)},
        )


def _check_origin(headers: Headers) -> None:
    """Browsers say where a request comes from: another site's page must not act in its visitor's name."""
    origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
    foreign = origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower()
    if foreign or site not in ("same-origin", "none"):
        raise ProblemError(
            HTTPStatus.FORBIDDEN, "foreign_origin", "Another site asked",
            f"a page of {origin or 'another site'} asked for this action", "use the pages of this server itself.",
        )


async def _whole_body(scope: Scope, receive: Receive) -> Receive:
    """The body, read to its end or refused, to be received once more."""
    chunks, size = [], 0
    declared = Headers(scope=scope).get("content-length", "0")
    if declared.isdigit() and int(declared) > BODY_LIMIT:
        raise _too_large()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            break
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > BODY_LIMIT:
            raise _too_large()
        if not message.get("more_body"):
            break
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": b"".join(chunks), "more_body": False}

    return again


def _too_large() -> ProblemError:
    return ProblemError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", "Too large",
        f"the request's body has more than {BODY_LIMIT // 1024} KiB", "send less; `tables: all` needs no list.",
    )
