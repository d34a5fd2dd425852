"""The control API and its pages: where they listen, who may do what."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from .base import PositiveSeconds, Section
from .routes import Url

Role = Literal["viewer", "operator", "admin"]
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,63}$")]
Network = IPv4Network | IPv6Network


class Members(Section):
    """Who has a role, of those that the proxy lets in."""

    users: tuple[str, ...] = ()
    """Names, as the user header gives them."""
    groups: tuple[str, ...] = ()
    """Groups, as the groups header gives them."""


class Roles(Section):
    """A person has the highest role that names them."""

    viewer: Members = Members()
    """May read."""
    operator: Members = Members()
    """May also start and stop trainings and give feedback."""
    admin: Members = Members()
    """May also promote and roll back generations."""
    everybody: Role | None = None
    """Role of those whom no other line names; without it they may do nothing."""


class Proxy(Section):
    """The one proxy that signs people in (oauth2-proxy, OpenShift's oauth-proxy) and says who they are by headers."""

    addresses: Annotated[tuple[Network, ...], Field(min_length=1)]
    """Addresses or networks of the proxy; the headers are believed from there alone. 127.0.0.1 for a proxy in the same
    pod."""
    user_header: HeaderName = "X-Forwarded-User"
    """Header with the name of the user."""
    groups_header: HeaderName = "X-Forwarded-Groups"
    """Header with the groups, separated by commas."""
    roles: Roles = Roles()
    """Who of them may do what."""


class Control(Section):
    """Needs `tokens_file`, `proxy` or both: nobody comes in without a name."""

    enabled: bool = False
    """Offer the API and the pages."""
    listen: str = "127.0.0.1:8346"
    """Address, host:port or :port; never that of the metrics. Put TLS before it where it leaves the machine."""
    external_url: Url | None = None
    """Where people find the pages: links of mails and dashboards lead there. Without it there are none."""
    tokens_file: Path | None = None
    """YAML list of name, role and token or sha256; read again when it changes. See docs/control.md."""
    proxy: Proxy | None = None
    """Believe the identity headers of this proxy."""
    session: PositiveSeconds = 12 * 3600
    """How long a browser that signed in with a token stays signed in."""
    rate_per_minute: int = Field(120, ge=1, le=100_000)
    """Requests per minute and identity; more are answered with 429."""
    burst: int = Field(40, ge=1, le=10_000)
    """Requests that may come at once."""
    max_connections: int = Field(64, ge=1)
    """Open connections beyond this many are answered with 503."""
    request_deadline: PositiveSeconds = 30
    """A request not received and answered by then is closed."""

    @model_validator(mode="after")
    def _somebody_may_come_in(self) -> Self:
        if self.enabled and self.tokens_file is None and self.proxy is None:
            raise ValueError("enabled needs tokens_file, proxy or both: who may come in?")
        return self
