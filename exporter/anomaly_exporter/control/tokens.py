"""Bearer tokens from a file that is read again when it changes.

tokens:
  - {name: ci, role: operator, sha256: 5e88...}       # of the token: printf %s "$TOKEN" | sha256sum
  - {name: kim, role: viewer, token: at-least-20-characters}
"""

from __future__ import annotations

import hashlib
import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Self

import yaml
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator

from anomaly_exporter.config import Role
from anomaly_exporter.config.base import Section

from .identity import is_name, same

log = logging.getLogger(__name__)

MAX_BYTES: Final = 1024 * 1024
MAX_TOKENS: Final = 1000
SHORTEST: Final = 20
LONGEST: Final = 1024
LOOK_EVERY: Final = 1.0
"""Seconds between two looks at the file."""
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


class TokensError(Exception):
    """The file of tokens cannot be used; the message never holds what stands in it."""


@dataclass(frozen=True)
class Token:
    """One entry; ``sha256`` in hexadecimal."""

    name: str
    role: Role
    sha256: str


class _Entry(Section):
    name: str
    role: Role
    token: SecretStr | None = None
    sha256: SecretStr | None = None

    @field_validator("name")
    @classmethod
    def _one_line(cls, name: str) -> str:
        if not is_name(name):
            raise ValueError("expected 1 to 200 characters on one line, without commas")
        return name

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        if (self.token is None) == (self.sha256 is None):
            raise ValueError("expected exactly one of token and sha256")
        if self.token and not SHORTEST <= len(self.token.get_secret_value()) <= LONGEST:
            raise ValueError(f"expected a token of {SHORTEST} to {LONGEST} characters: openssl rand -hex 32")
        if self.sha256 and not _SHA256.match(self.sha256.get_secret_value()):
            raise ValueError("expected sha256 as 64 hexadecimal digits in lower case")
        return self

    def made(self) -> Token:
        if self.token:
            return Token(self.name, self.role, digest(self.token.get_secret_value()))
        return Token(self.name, self.role, self.sha256.get_secret_value() if self.sha256 else "")


class _File(Section):
    tokens: Annotated[tuple[_Entry, ...], Field(max_length=MAX_TOKENS)]


def digest(token: str) -> str:
    """SHA-256 of a token. Tokens are long and random, so that no slow hash is needed."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def parse_tokens(text: bytes) -> tuple[Token, ...]:
    """The entries of a file. Raises TokensError."""
    if len(text) > MAX_BYTES:
        raise TokensError(f"expected at most {MAX_BYTES} bytes, received {len(text)}")
    try:
        document: Any = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError):
        # The parser's message quotes the line it fell over: no word of it may reach a log.
        raise TokensError("expected YAML") from None
    try:
        entries = [entry.made() for entry in _File.model_validate(document).tokens]
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False)]
        raise TokensError("; ".join(lines)[:1000]) from None
    names = [entry.name for entry in entries]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise TokensError(f"expected every name once, received twice: {', '.join(twice)[:200]}")
    return tuple(entries)


class Tokens:
    """The tokens of the file at ``path``; None knows none.

    A file that is not there lets nobody in. One that is there and cannot be used changes nothing: the last good one
    stays, and ``noted`` is told 0 instead of how many tokens are in force.
    """

    def __init__(
        self,
        path: Path | None,
        noted: Callable[[int], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._noted = noted
        self._clock = clock
        self._lock = threading.Lock()
        self._looked = float("-inf")
        self._seen: object = None
        self._tokens: tuple[Token, ...] = ()

    def find(self, token: str) -> Token | None:
        """The entry of ``token``. Every entry is compared, whichever it is."""
        if not token or len(token) > LONGEST:
            return None
        wanted, found = digest(token), None
        for entry in self.all():
            if same(entry.sha256, wanted):
                found = entry
        return found

    def named(self, name: str) -> Token | None:
        """The entry called ``name``."""
        return next((entry for entry in self.all() if entry.name == name), None)

    def all(self) -> tuple[Token, ...]:
        """What is in force now."""
        with self._lock:
            now = self._clock()
            if self._path is not None and now - self._looked >= LOOK_EVERY:
                self._looked = now
                self._look(self._path)
            return self._tokens

    def _look(self, path: Path) -> None:
        try:
            found = path.stat()
            seen: object = (found.st_mtime_ns, found.st_size, found.st_ino)
            if seen == self._seen:
                return
            text = path.read_bytes()
        except FileNotFoundError:
            if self._seen != "missing":
                log.error("there is no file of tokens: nobody comes in with one", extra={"path": str(path)})
            self._seen, self._tokens = "missing", ()
            self._noted(0)
            return
        except OSError as error:
            self._refused(path, str(error.strerror))
            return
        self._seen = seen
        try:
            self._tokens = parse_tokens(text)
        except TokensError as error:
            self._refused(path, str(error))
            return
        self._noted(len(self._tokens))
        log.info("tokens are in force", extra={"path": str(path), "count": len(self._tokens)})

    def _refused(self, path: Path, why: str) -> None:
        self._noted(0)
        log.error("the file of tokens is not used, the last good one stays", extra={"path": str(path), "error": why})
