"""What people say about alerts: where it is read from and what follows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from .base import PositiveSeconds, Section
from .connection import BasicAuth, Tls, http_url

Word = Annotated[str, Field(pattern=r"^\w[\w-]{0,39}$")]


class AlertmanagerFeedback(Section):
    """API v2 of an Alertmanager: its silences."""

    url: Annotated[str, AfterValidator(http_url)]
    """Base URL, for example http://alertmanager-operated:9093 (a path prefix is kept)."""
    timeout: PositiveSeconds = 10
    """Deadline of one request, body included."""
    bearer_token_file: Path | None = None
    """File with a bearer token, read again at every request."""
    basic_auth: BasicAuth | None = None
    """HTTP basic authentication."""
    tls: Tls = Tls()
    """CA, client certificate."""

    @model_validator(mode="after")
    def _one_authentication(self) -> Self:
        if self.basic_auth and self.bearer_token_file:
            raise ValueError("basic_auth and bearer_token_file exclude each other")
        return self


class GrafanaFeedback(Section):
    """HTTP API of Grafana: its annotations."""

    url: Annotated[str, AfterValidator(http_url)]
    """Base URL, for example http://grafana:3000 (a path prefix is kept)."""
    token_file: Path
    """File with the token of a service account (role Viewer), read again at every request."""
    timeout: PositiveSeconds = 10
    """Deadline of one request, body included."""
    tls: Tls = Tls()
    """CA, client certificate."""
    look_back: PositiveSeconds = 30 * 86_400
    """Annotations that end earlier than this are left as they were last seen."""


class Words(Section):
    """Words in the comment of a silence, in any case, that make it feedback; the first of them counts."""

    expected: Annotated[tuple[Word, ...], Field(min_length=1)] = ("expected",)
    """It was normal and may come again."""
    incident: Annotated[tuple[Word, ...], Field(min_length=1)] = ("incident",)
    """It was rightly an alert."""
    ignore: Annotated[tuple[Word, ...], Field(min_length=1)] = ("ignore",)
    """Neither: do not learn from it."""

    @model_validator(mode="after")
    def _different(self) -> Self:
        words = [word.lower() for word in (*self.expected, *self.incident, *self.ignore)]
        if twice := sorted({word for word in words if words.count(word) > 1}):
            raise ValueError(f"a word has one meaning: {twice} are used twice")
        return self


class Recurrence(Section):
    """How alike a later window must be to what was called expected."""

    shift: int = Field(5, ge=0, le=60)
    """Steps that an event may come earlier or later."""
    tolerance: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of its own size by which an event may differ for nothing."""
    recurrence: Literal["daily", "weekly"] = "daily"
    """An event may come again at the same time of the day, or only of the same day of the week (UTC)."""


class Feedback(Section):
    """Without `alertmanager` and `grafana` nothing is asked; what pages and the command line say counts anyway."""

    alertmanager: AlertmanagerFeedback | None = None
    """Read silences whose comment holds one of `words`."""
    grafana: GrafanaFeedback | None = None
    """Read annotations that are tagged `anomaly:expected`, `anomaly:incident` or `anomaly:ignore`."""
    words: Words = Words()
    """What makes a silence feedback."""
    every: PositiveSeconds = 60
    """How often silences and annotations are read, wall time."""
    expected: Recurrence = Recurrence()
    """When an event that was called expected is quiet again."""
    precision_window: PositiveSeconds = 30 * 86_400
    """Verdicts of this long ago and newer make `anomaly_alert_precision_ratio`."""
