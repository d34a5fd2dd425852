"""Who is told."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from .base import PositiveSeconds, Seconds, Section

Email = Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$")]


class Route(Section):
    tag: str = Field(min_length=1)
    """Alerts with this `tag` go to this route."""
    emails: Annotated[tuple[Email, ...], Field(min_length=1)]
    """Addresses of the team."""
    send_resolved: bool = True
    """Mail again when the anomaly is over."""


class Smtp(Section):
    smarthost: str = "localhost:25"
    """host:port of the SMTP server Alertmanager sends through."""
    sender: Email = "anomaly-exporter@localhost.localdomain"
    """From address."""
    require_tls: bool = True
    """Refuse to mail in the clear."""


class Routing(Section):
    """Rendered into Alertmanager's configuration by `anomaly-exporter render alertmanager`."""

    default_emails: tuple[Email, ...] = ()
    """Who gets alerts of tags without a route, and alerts about the exporter itself; nobody when empty."""
    routes: tuple[Route, ...] = ()
    """One receiver per tag."""
    smtp: Smtp = Smtp()
    """How Alertmanager sends mail."""
    group_wait: Seconds = 30
    """How long Alertmanager waits for more alerts of the same group."""
    group_interval: PositiveSeconds = 300
    """How long Alertmanager waits before it mails about new alerts of a group."""
    repeat_interval: PositiveSeconds = 4 * 3600
    """How long until a still firing alert is mailed again."""
