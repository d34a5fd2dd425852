"""Who is told."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from .base import Name, PositiveSeconds, Seconds, Section

Email = Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$")]
Url = Annotated[str, Field(pattern=r"^https?://[^\s]+$")]
TimeRange = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d-(([01]\d|2[0-3]):[0-5]\d|24:00)$")]
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]


class SecretKey(Section):
    name: str = Field(min_length=1)
    """Name of a Secret in the namespace of the AlertmanagerConfig."""
    key: str = Field(min_length=1)
    """Key in that Secret."""


class Slack(Section):
    channel: str = Field(min_length=1)
    """Channel or user."""
    api_url_file: str = "/etc/alertmanager/slack/url"
    """File beside Alertmanager that holds the webhook URL, for `render alertmanager`."""
    api_url_secret: SecretKey = SecretKey(name="anomaly-exporter-slack", key="url")
    """Secret that holds the webhook URL, for `render alertmanagerconfig`."""


class Route(Section):
    tag: str = Field(min_length=1)
    """Alerts with this `tag` go to this route."""
    emails: tuple[Email, ...] = ()
    """Addresses of the team."""
    webhooks: tuple[Url, ...] = ()
    """URLs that get Alertmanager's JSON."""
    slack: Slack | None = None
    """Slack channel of the team."""
    send_resolved: bool = True
    """Tell again when the anomaly is over."""
    mute: tuple[Name, ...] = ()
    """Names of `routing.mute_windows` in which this route is silent."""

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if not (self.emails or self.webhooks or self.slack):
            raise ValueError(f"the route of tag {self.tag!r} tells nobody: expected emails, webhooks or slack")
        return self


class MuteWindow(Section):
    """A recurring maintenance window, in UTC; what is left out does not restrict it."""

    weekdays: tuple[Weekday, ...] = ()
    """Days of the week."""
    times: tuple[TimeRange, ...] = ()
    """Times of day, such as 22:00-24:00."""
    days_of_month: tuple[Annotated[int, Field(ge=1, le=31)], ...] = ()
    """Days of the month."""


class Smtp(Section):
    smarthost: str = "localhost:25"
    """host:port of the SMTP server Alertmanager sends through."""
    sender: Email = "anomaly-exporter@localhost.localdomain"
    """From address."""
    require_tls: bool = True
    """Refuse to mail in the clear."""
    username: str = ""
    """Account at the SMTP server; no authentication when empty."""
    password_file: str = "/etc/alertmanager/smtp/password"  # noqa: S105  a path
    """File beside Alertmanager that holds its password, for `render alertmanager`."""
    password_secret: SecretKey = SecretKey(name="anomaly-exporter-smtp", key="password")
    """Secret that holds its password, for `render alertmanagerconfig`."""


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
    mute_windows: dict[Name, tuple[MuteWindow, ...]] = {}
    """Maintenance windows by name; a route names those in which it is silent."""
    watchdog_url: Url | None = None
    """URL outside of the cluster that is called again and again while everything works, and reports when it is not."""
    watchdog_every: PositiveSeconds = 300
    """How often it is called."""
    matcher_strategy: Literal["OnNamespaceExceptForAlertmanagerNamespace", "OnNamespace", "None"] = (
        "OnNamespaceExceptForAlertmanagerNamespace"
    )
    """`alertmanagerConfigMatcherStrategy` of the Alertmanager object: does the operator tie routes to a namespace?"""
    object_per_tag: bool = False
    """Render an AlertmanagerConfig per tag, and one for all that has none, instead of one for all: a team's routes can
    then be looked at, granted and applied alone."""

    @model_validator(mode="after")
    def _windows_exist(self) -> Self:
        for route in self.routes:
            if unknown := [name for name in route.mute if name not in self.mute_windows]:
                known = sorted(self.mute_windows)
                raise ValueError(f"the route of tag {route.tag!r} names mute_windows {unknown}; known are {known}")
        return self
