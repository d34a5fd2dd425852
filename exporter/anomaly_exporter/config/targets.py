"""What to watch."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from .alerting import Alerting
from .base import LabelName, Name, PositiveSeconds, Seconds, Section
from .conditions import HoldOn, Regime, Valid
from .gate import Gate
from .season import Season
from .thresholds import Threshold
from .training import Training

EMITTED_LABELS = frozenset(
    {"metric", "model", "tag", "feature", "method", "measure", "split", "severity", "alert", "alertname"}
)
# Rules aggregate over these, so that two replicas or a rollout of the exporter never make two alerts.
SCRAPE_LABELS = frozenset({"pod", "instance", "endpoint", "job", "service"})
RESERVED_LABELS = EMITTED_LABELS | SCRAPE_LABELS


class Query(Section):
    name: Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_.:-]*$")] = "value"
    """Name of the feature; becomes the label `feature`."""
    expr: str = Field(min_length=1)
    """PromQL. A plain selector is read without lookback; write `$step` where an expression needs the step."""
    fallback: str | None = None
    """PromQL used instead when `expr` finds nothing at the first probe; the choice is stored and never switched."""
    freshness: str | None = None
    """Selector whose sample age is the data lag; taken from `expr` when that is a plain selector."""
    valid: Valid = Valid()
    """Possible values; samples outside are missing, and counted."""
    limit: Annotated[float, Field(gt=0)] | Annotated[str, Field(min_length=1)] | None = None
    """What the value may grow to at most: a number, or PromQL with the labels of the target, such as the memory limit
    of the container. Gives `anomaly_seconds_to_limit`."""


class Target(Section):
    name: Name
    """Unique name; part of every file path and log line."""
    metric: Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")]
    """Value of the label `metric`: cpu, memory, ...; `resources` for several features."""
    unit: Literal["cores", "bytes", "seconds", "ratio", "bytes_per_second", "per_second", "count", ""] = ""
    """Unit of the observed value, for dashboards and mails."""
    queries: Annotated[tuple[Query, ...], Field(min_length=1)]
    """One query per feature, joined on `labels`."""
    labels: Annotated[tuple[LabelName, ...], Field(min_length=1)] = ("namespace", "container")
    """Allow-list: these labels make the entity, all others are aggregated away."""
    rename: dict[LabelName, LabelName] = {}
    """Input label -> label, before the allow-list is applied: `exported_namespace: namespace`."""
    aggregation: Literal["mean", "sum", "max"] = "mean"
    """How series that share the allow-listed labels become one."""
    step: PositiveSeconds = 60
    """Distance of two samples."""
    delay: Seconds = 60
    """How long after an instant its samples are complete."""
    models: Annotated[tuple[Name, ...], Field(min_length=1)] = ("auto",)
    """Keys of `models`; the name of a recipe stands for that recipe with its defaults."""
    tag: str | None = None
    """Constant value of the label `tag`, which routes the mail."""
    tag_from: LabelName = "namespace"
    """Label whose value becomes `tag` when `tag` is unset."""
    zero_gap: int = Field(0, ge=0, le=10)
    """Isolated zeros of at most this many steps are gaps (kube-eagle reports a missing sample as zero)."""
    min_features: int | None = Field(None, ge=1)
    """Fewest observed features for a score; half of them, rounded up, when unset."""
    training: Training = Training()
    """Overrides of the section `training` for this target."""
    threshold: Threshold = Threshold()
    """Overrides of the section `threshold` for this target."""
    season: Season = Season()
    """Overrides of the section `season` for this target."""
    alerting: Alerting = Alerting()
    """Overrides of the section `alerting` for this target."""
    regime: Regime = Regime()
    """Overrides of the section `regime` for this target."""
    hold_on: HoldOn | None = None
    """Hold alerts after deploys and restarts, told by a query of its own."""
    gate: Gate = Gate()
    """Overrides of the section `gate` for this target."""

    @property
    def features(self) -> tuple[str, ...]:
        return tuple(q.name for q in self.queries)

    @property
    def needed_features(self) -> int:
        return self.min_features or -(-len(self.queries) // 2)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.features)) != len(self.features):
            raise ValueError(f"queries need unique names, received {list(self.features)}")
        if clash := RESERVED_LABELS.intersection(self.labels):
            raise ValueError(
                f"labels {sorted(clash)} belong to the exporter or to the scrape; give them another name by rename"
            )
        if len(set(self.labels)) != len(self.labels):
            raise ValueError(f"labels must be unique, received {list(self.labels)}")
        if self.tag is None and self.tag_from not in self.labels:
            raise ValueError(
                f"tag_from must be one of labels {list(self.labels)}, received {self.tag_from!r}; or set tag"
            )
        if self.needed_features > len(self.queries):
            raise ValueError(f"min_features must be at most {len(self.queries)}, the number of queries")
        return self
