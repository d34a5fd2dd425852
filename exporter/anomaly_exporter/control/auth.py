"""From a request to an identity: a bearer token, the session of somebody who signed in with one, or the proxy."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from typing import Final, Literal
from urllib.parse import urlsplit

from anomaly_exporter.config import Config
from anomaly_exporter.http_server import Request
from anomaly_exporter.self_metrics import SelfMetrics

from . import proxy
from .identity import Identity
from .problems import Problem
from .rate_limit import RateLimit
from .signing import Signer
from .tokens import Token, Tokens

log = logging.getLogger(__name__)

Failure = Literal["missing", "token", "header", "session", "login", "role", "form", "origin"]
FAILURES: Final[tuple[Failure, ...]] = ("missing", "token", "header", "session", "login", "role", "form", "origin")
COOKIE: Final = "anomaly_session"
FAILURES_PER_MINUTE, FAILURES_AT_ONCE = 30, 20
"""Failures of one peer that are looked at and logged one by one; the others only cost an answer."""


class Door:
    """Says who a request is from, and counts who should not be here."""

    def __init__(self, config: Config, tokens: Tokens, signer: Signer, metrics: SelfMetrics) -> None:
        self.signer = signer
        self._control = config.control
        self._tokens = tokens
        self._metrics = metrics
        self._requests = RateLimit(config.control.rate_per_minute, config.control.burst)
        self._failures = RateLimit(FAILURES_PER_MINUTE, FAILURES_AT_ONCE)
        metrics.begin("control_auth_failures_total", "reason", FAILURES)

    @property
    def secure(self) -> bool:
        """Whether browsers reach us by TLS only."""
        return (self._control.external_url or "").startswith("https://")

    @property
    def cookie(self) -> str:
        """Name of the cookie; with this prefix browsers refuse to have it set by anybody but this host."""
        return f"__Host-{COOKIE}" if self.secure else COOKIE

    def program(self, request: Request) -> Identity:
        """Who calls the API. A session is not accepted: browsers send it by themselves. Raises Problem."""
        found = self._by_token(request) or self._by_proxy(request)
        if found is None:
            raise self.refused("missing", request)
        reads = request.method in ("GET", "HEAD")
        if found.via == "proxy" and not reads and not same_site(request, self._control.external_url):
            raise self.refused("origin", request, found)
        self._within_limits(found)
        return found

    def person(self, request: Request) -> Identity | None:
        """Who looks at a page; None for somebody who has to sign in. Raises Problem."""
        found = self._by_token(request) or self._by_proxy(request) or self._by_session(request)
        if found is not None:
            self._within_limits(found)
        return found

    def sign_in(self, request: Request, token: str) -> str:
        """The value of a new session's cookie. Raises Problem."""
        if not same_site(request, self._control.external_url):
            raise self.refused("origin", request)
        found = self._tokens.find(token)
        if found is None:
            raise self.refused("login", request)
        log.info("signed in", extra={"who": found.name, "role": found.role, "peer": request.peer})
        return self.signer.session(found)

    def require_form(self, request: Request, identity: Identity, token: str) -> None:
        """Refuse a form that was not ours, made for this very identity, and sent by its own page. Raises Problem."""
        if not same_site(request, self._control.external_url):
            raise self.refused("origin", request, identity)
        if not self.signer.is_form_of(token, form_secret(identity)):
            raise self.refused("form", request, identity)

    def refused(self, failure: Failure, request: Request, identity: Identity | None = None) -> Problem:
        """Count and log a failure; the problem to raise."""
        self._metrics.inc("control_auth_failures_total", reason=failure)
        if wait := self._failures.wait(request.peer):
            return _too_many(wait)
        if failure != "missing":
            who = {"who": identity.name, "via": identity.via} if identity else {}
            about = {"reason": failure, "peer": request.peer, "method": request.method, "path": request.path[:200]}
            log.warning("refused", extra={**about, **who})
        return _problem(failure)

    def _by_token(self, request: Request) -> Identity | None:
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        if not scheme:
            return None
        found = self._tokens.find(credentials.strip()) if scheme.lower() == "bearer" else None
        if found is not None:
            return Identity(found.name, found.role, "token", f"token {found.name}")
        if proxy.believed(self._control.proxy, request.peer):
            # Proxies pass on a header of their own making; who it is stands in the others.
            return None
        raise self.refused("token", request)

    def _by_proxy(self, request: Request) -> Identity | None:
        if not proxy.names_somebody(self._control.proxy, request.headers):
            return None
        if not proxy.believed(self._control.proxy, request.peer) or self._control.proxy is None:
            raise self.refused("header", request)
        found = proxy.person(self._control.proxy, request.headers)
        if found is None:
            raise self.refused("role", request)
        return found

    def _by_session(self, request: Request) -> Identity | None:
        value = cookies(request).get(self.cookie)
        if not value:
            return None
        opened = self.signer.open_session(value, self._token_named)
        if opened is None:
            # Usually a session from before a restart: not worth an alarm, only a new sign-in.
            self._metrics.inc("control_auth_failures_total", reason="session")
            return None
        session, token = opened
        return Identity(token.name, token.role, "session", session.nonce)

    def _token_named(self, name: str) -> Token | None:
        return self._tokens.named(name)

    def _within_limits(self, identity: Identity) -> None:
        if wait := self._requests.wait(identity.key):
            raise _too_many(wait)


def form_secret(identity: Identity) -> str:
    """What the forms of ``identity`` are bound to."""
    return f"{identity.via} {identity.name} {identity.secret}"


def cookies(request: Request) -> Mapping[str, str]:
    """Cookies of the request; none when the header makes no sense."""
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(request.headers.get("cookie", "")).items()}
    except CookieError:
        return {}


def same_site(request: Request, external_url: str | None) -> bool:
    """Whether, as far as the browser tells, the request comes from a page of ours. Programs tell nothing."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("origin")
    if origin is None:
        return True
    ours = {request.headers.get("host", "")}
    if external_url:
        ours.add(urlsplit(external_url).netloc)
    try:
        return urlsplit(origin).netloc in ours - {""}
    except ValueError:
        return False


def _too_many(wait: float) -> Problem:
    return Problem(
        HTTPStatus.TOO_MANY_REQUESTS,
        f"too many requests: the next one may come in {wait:.1f} s",
        headers={"Retry-After": str(max(int(wait + 0.999), 1))},
    )


def _problem(failure: Failure) -> Problem:
    status, detail = _WORDS[failure]
    challenge = {"WWW-Authenticate": 'Bearer realm="anomaly-exporter"'} if failure in ("missing", "token") else {}
    return Problem(status, detail, headers=challenge)


_WORDS: Final[Mapping[Failure, tuple[HTTPStatus, str]]] = {
    "missing": (HTTPStatus.UNAUTHORIZED, "expected Authorization: Bearer <token>"),
    "token": (HTTPStatus.UNAUTHORIZED, "the token is not known here"),
    "header": (HTTPStatus.UNAUTHORIZED, "identity headers are believed from the configured proxy only"),
    "session": (HTTPStatus.UNAUTHORIZED, "the session is over: sign in again"),
    "login": (HTTPStatus.UNAUTHORIZED, "the token is not known here"),
    "role": (HTTPStatus.FORBIDDEN, "you have no role here: control.proxy.roles names who has one"),
    "form": (HTTPStatus.FORBIDDEN, "the form is too old or not yours: look it over and send it again"),
    "origin": (HTTPStatus.FORBIDDEN, "the request comes from a page that is not ours"),
}
