"""What goes in and out of the API, as pydantic models: the API, its description and the pages all use these.

Times are ISO 8601 in UTC. Where the time of samples is compressed (demo, replay) they are wall time, as Prometheus and
Grafana show it.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from anomaly_exporter.config import Role
from anomaly_exporter.config.base import LABEL_NAME, NAME
from anomaly_exporter.feedback import Origin, Verdict

from .reading import read_time

MOST_TARGETS: Final = 64
MOST_RESULTS: Final = 1000
TIME_EXAMPLE: Final = "2026-01-31T12:00:00Z"


def _is_time(text: str) -> str:
    read_time(text)
    return text


Name = Annotated[str, Field(pattern=NAME)]
Time = Annotated[str, Field(max_length=40, examples=[TIME_EXAMPLE])]
AnyTime = Annotated[str, Field(min_length=1, max_length=40, examples=[TIME_EXAMPLE]), AfterValidator(_is_time)]
Label = Annotated[str, Field(pattern=LABEL_NAME, max_length=200)]
State = Literal["waiting", "running", "succeeded", "failed", "stopped"]


class Received(BaseModel):
    """Sent by a client: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Sent(BaseModel):
    """Sent by us."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=())


class Problem(Sent):
    """Why a request was not done (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[str] = []
    """A line for everything that is wrong: path, expectation, what was received."""


class Who(Sent):
    """Whoever asks."""

    name: str
    role: Role
    via: Literal["token", "proxy", "session"]


class StartTrainings(Received):
    """Trainings to start, one per target."""

    targets: Annotated[list[Name], Field(min_length=1, max_length=MOST_TARGETS)]
    """Names of targets; one that is being trained refuses the whole request."""
    model: Name | None = None
    """Train only this model of the targets; all of their models when left out."""
    parameters: dict[str, Any] = {}
    """Keys of a model of the configuration, such as epochs and window, for this training only."""
    training: dict[str, Any] = {}
    """Keys of the section training, such as history, for this training only."""


class Training(Sent):
    """The newest training of a target."""

    target: Name
    models: list[str]
    state: State
    requested: bool
    """Somebody asked for a training that has not begun yet."""
    progress: float
    """0 to 1."""
    started_at: Time | None
    seconds: float | None
    """How long it took, when it is over."""
    next_at: Time | None
    succeeded_at: Time | None
    message: str
    """Why it failed."""
    epochs: dict[str, int] = {}
    """Epoch of the batch in training, by model."""


class Trainings(Sent):
    trainings: list[Training]


class Generation(Sent):
    """A set of models of a target."""

    target: Name
    number: int
    in_force: bool
    created_at: Time
    previous: int | None
    """The generation that a rollback returns to."""
    models: dict[str, int]
    """Entities by model."""
    verdicts: dict[str, int]
    """Entities by verdict of the promotion gate."""
    rejected: int
    """Entities with a model that the gate kept out of force and that may still be promoted."""


class Generations(Sent):
    generations: list[Generation]


class Choice(Received):
    """Models of a target: all of them, or those that everything given fits."""

    labels: Annotated[dict[Label, Annotated[str, Field(max_length=500)]], Field(max_length=32)] = {}
    """Labels that entities must have."""
    model: Name | None = None
    """Only models of this name."""


class Changed(Sent):
    """The generation that a change put in force."""

    target: Name
    number: int
    models: int
    """How many models the change was about."""


class Feature(Sent):
    """One feature of an entity, in its own unit; null where there is no value."""

    feature: str
    observed: float | None
    expected: float | None
    lower: float | None
    upper: float | None
    contribution: float | None
    """Share of the error, 0 to 1."""


class Result(Sent):
    """The newest score of one entity and model."""

    target: Name
    labels: dict[str, str]
    """As on /metrics: static labels, the entity's own, metric, model and tag."""
    at: Time
    """Instant of the newest sample of the window."""
    score: float
    """error / threshold: 1 and above is anomalous."""
    error: float
    threshold: float
    detected: bool
    """An anomaly stands, after persistence, direction, deviation and hysteresis."""
    features: list[Feature]


class Metadata(Sent):
    """Of what the results are."""

    version: Literal[1] = 1
    generated_at: Time
    cycle_at: Time | None
    """When the cycle ended that they come from; null, and no data, when there is no current one."""
    total: int
    """Results that the filter lets through."""
    offset: int
    limit: int


class Results(Sent):
    """The newest scores, the highest first."""

    metadata: Metadata
    data: list[Result]


class AddFeedback(Received):
    """What somebody says about a stretch of time of the entities that all labels fit."""

    verdict: Verdict
    """expected: normal, and may come again. incident: rightly an alert. ignore: neither, learn nothing from it."""
    start: AnyTime
    end: AnyTime
    target: Name | None = None
    """Only entities of this target."""
    labels: Annotated[dict[Label, Annotated[str, Field(max_length=500)]], Field(max_length=32)] = {}
    """Labels that entities must have: their own, static ones, metric, tag."""
    comment: Annotated[str, Field(max_length=2000)] = ""
    fixed_by: Annotated[str, Field(max_length=2000)] = ""
    """What helped; such remedies are shown first next time."""


class ResultsQuery(Received):
    target: Name | None = None
    """Only results of this target."""
    model: Name | None = None
    """Only results of this model."""
    minimum_score: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """Only results with at least this score."""
    offset: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    """Results to leave out at the beginning."""
    limit: Annotated[int, Field(ge=1, le=MOST_RESULTS)] = 100
    """Most results of the answer."""


class FeedbackQuery(Received):
    target: Name | None = None
    """Only what can concern this target."""
    start: AnyTime | None = None
    """Only what ends later."""
    end: AnyTime | None = None
    """Only what begins earlier."""
    offset: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    """Statements to leave out at the beginning."""
    limit: Annotated[int, Field(ge=1, le=MOST_RESULTS)] = 100
    """Most statements of the answer."""


class Nothing(Received):
    """No parameters."""


class Feedback(Sent):
    """One statement."""

    id: str
    verdict: Verdict
    start: Time
    end: Time
    target: str | None
    matchers: list[str]
    author: str
    source: Origin
    stated_at: Time
    comment: str
    fixed_by: str


class FeedbackList(Sent):
    feedback: list[Feedback]
    total: int
    conflicts: int
    """Pairs of statements in force that disagree; the later one holds."""
