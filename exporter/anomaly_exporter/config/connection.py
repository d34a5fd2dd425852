"""Where samples come from: the Prometheus HTTP API, files, or the page of an application beside us."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from .base import LabelName, PositiveSeconds, Section


def http_url(value: str) -> str:
    """``value`` without a slash at its end. Raises ValueError for what is no URL of HTTP."""
    if not value.startswith(("http://", "https://")):
        raise ValueError("expected a URL that starts with http:// or https://")
    return value.rstrip("/")


class BasicAuth(Section):
    username: str
    """User name."""
    password_file: Path
    """File that holds the password; read again at every connection, so that it can be rotated."""


class Tls(Section):
    ca_file: Path | None = None
    """CA bundle that signed the server's certificate; the system's bundle when unset."""
    cert_file: Path | None = None
    """Client certificate (mTLS)."""
    key_file: Path | None = None
    """Key of the client certificate."""
    insecure_skip_verify: bool = False
    """Accept any server certificate. For a laboratory only."""

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file are given together")
        return self


class PrometheusConnection(Section):
    """The Prometheus HTTP API: Prometheus, Thanos, Mimir, VictoriaMetrics."""

    url: Annotated[str, AfterValidator(http_url)]
    """Base URL, for example http://prometheus-operated:9090 (a path prefix is kept)."""
    timeout: PositiveSeconds = 30
    """Deadline of one request, body included."""
    bearer_token_file: Path | None = None
    """File with a bearer token, read again at every request."""
    basic_auth: BasicAuth | None = None
    """HTTP basic authentication."""
    tls: Tls = Tls()
    """CA, client certificate."""
    headers: dict[str, str] = {}
    """Extra headers, for example X-Scope-OrgID of a Mimir tenant."""
    max_points: int = Field(11_000, ge=1)
    """Most points per series that the server answers (Prometheus: 11000); longer ranges are split."""
    max_samples: int = Field(10_000_000, ge=1000)
    """Most samples asked for in one answer; larger reads are split by time."""
    max_answer_bytes: int = Field(512 * 2**20, ge=2**20)
    """An answer larger than this is refused instead of filling the memory."""

    @model_validator(mode="after")
    def _one_authentication(self) -> Self:
        if self.basic_auth and self.bearer_token_file:
            raise ValueError("basic_auth and bearer_token_file exclude each other")
        return self


class FilesConnection(Section):
    """A folder of CSV or Parquet tables: timestamp, entity, metric, value."""

    path: Path
    """Folder or single file."""
    entity_label: str = "entity"
    """Name of the label that carries the table's entity column."""


class SimulatorConnection(Section):
    """The built-in workload simulator as a source, for the demo on a machine without Prometheus."""

    seed: int = 7
    """The same seed gives the same cluster and the same noise."""
    origin: int = 0
    """Data time in seconds at which the simulated cluster was born."""
    incident_file: Path | None = None
    """JSON file through which the demo injects an incident."""


class ScrapeConnection(Section):
    """The metrics page of one application, read by ourselves: the sidecar, where no Prometheus is asked."""

    url: Annotated[str, AfterValidator(http_url)]
    """The page, for example http://localhost:8080/metrics; text format 0.0.4 or OpenMetrics."""
    interval: PositiveSeconds = 15
    """Distance of two scrapes; not longer than the smallest step of a target."""
    timeout: PositiveSeconds = 10
    """Deadline of one scrape, body included."""
    labels: dict[LabelName, str] = {}
    """Labels of every series of the page, such as namespace and container. A series' own label of that name becomes
    `exported_<name>`, as with Prometheus."""
    save_every: PositiveSeconds = 300
    """How often what was scraped is appended to the history; a process that is killed loses at most so much."""
    max_answer_bytes: int = Field(16 * 2**20, ge=2**10)
    """A page larger than this is refused instead of filling the memory."""
    max_series: int = Field(20_000, ge=1)
    """A page with more series for one query than this is refused."""
    tls: Tls = Tls()
    """CA, client certificate."""
