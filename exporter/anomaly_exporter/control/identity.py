"""Who asks, and what they may do."""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from typing import Final, Literal

from anomaly_exporter.config import Role

Via = Literal["token", "proxy", "session"]
RANKS: Final[dict[Role, int]] = {"viewer": 0, "operator": 1, "admin": 2}
_NAME = re.compile(r"[^\x00-\x1f\x7f-\x9f,\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]{1,200}\Z")


@dataclass(frozen=True)
class Identity:
    """A person or a program. ``secret``: what forms of this very sign-in are bound to; empty where none is needed."""

    name: str
    role: Role
    via: Via
    secret: str = ""

    def may(self, role: Role) -> bool:
        """Whether the role of this identity is ``role`` or a higher one."""
        return RANKS[self.role] >= RANKS[role]

    @property
    def key(self) -> str:
        """Names this identity in limits and in the audit log: a token and its browser session are one."""
        return f"{'proxy' if self.via == 'proxy' else 'token'}:{self.name}"


def is_name(text: str) -> bool:
    """Whether ``text`` can be the name of somebody: on one line, without commas and signs that turn the direction."""
    return _NAME.match(text) is not None


def same(one: str, other: str) -> bool:
    """Whether two secrets are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass"))
