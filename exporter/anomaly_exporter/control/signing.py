"""What a browser brings back and cannot change: sessions of people who signed in, and proof that a form was ours.

The key lives and dies with the process: after a restart people sign in again, and nothing that was stored can leak.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from .identity import same
from .tokens import Token

LONGEST = 2048


@dataclass(frozen=True)
class Session:
    """Whoever signed in with the token called ``name``; ``nonce`` is this very sign-in."""

    name: str
    nonce: str


class Signer:
    """Makes and checks what is signed; everything lasts ``lifetime`` wall seconds."""

    def __init__(self, lifetime: float, wall: Callable[[], float] = time.time, key: bytes | None = None) -> None:
        self._lifetime = lifetime
        self._wall = wall
        self._key = key or secrets.token_bytes(32)

    def session(self, token: Token) -> str:
        """Value of the cookie of somebody who signed in with ``token``."""
        made = [token.name, self._of_token(token), secrets.token_hex(16), int(self._wall() + self._lifetime)]
        body = base64.urlsafe_b64encode(json.dumps(made).encode()).decode().rstrip("=")
        return f"{body}.{self._sign('session', body)}"

    def open_session(self, cookie: str, find: Callable[[str], Token | None]) -> tuple[Session, Token] | None:
        """Whose ``cookie`` it is; None when it is forged, too old, or its token is no longer in force."""
        body, _, signature = cookie.partition(".")
        if len(cookie) > LONGEST or not same(self._sign("session", body), signature):
            return None
        try:
            name, of_token, nonce, until = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        except (ValueError, binascii.Error):
            return None
        token = find(str(name))
        if token is None or until <= self._wall() or not same(self._of_token(token), str(of_token)):
            return None
        return Session(token.name, str(nonce)), token

    def form(self, secret: str) -> str:
        """Token of a form for whoever has ``secret``."""
        until = str(int(self._wall() + self._lifetime))
        return f"{until}.{self._sign('form', f'{secret} {until}')}"

    def is_form_of(self, token: str, secret: str) -> bool:
        """Whether ``token`` was made for ``secret`` and is not too old."""
        until, _, signature = token.partition(".")
        if len(token) > LONGEST or not same(self._sign("form", f"{secret} {until}"), signature):
            return False
        return int(until) > self._wall()

    def _of_token(self, token: Token) -> str:
        """Changes with the token, so that a session ends with it, and tells nothing of it."""
        return self._sign("token", token.sha256)

    def _sign(self, purpose: str, text: str) -> str:
        return hmac.new(self._key, f"{purpose}\0{text}".encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
