"""The whole file: sections, presets, and how they fit together."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from .alerting import Alerting
from .base import LabelName, Name, Section
from .canary import CANARY_TAG, CANARY_TARGET, Canary
from .conditions import Regime
from .connection import FilesConnection, PrometheusConnection, ScrapeConnection, SimulatorConnection
from .control import Control
from .exposition import Exposition, Links
from .feedback import Feedback
from .gate import Gate
from .launcher import Launcher
from .models import RECIPES, Model
from .remedies import Remedy, default_remedies
from .routes import Routing
from .rules import Rules
from .season import Season
from .store import Store
from .targets import RESERVED_LABELS, Target
from .thresholds import Threshold
from .timing import Timing
from .training import Training


class Config(Section):
    """Configuration of anomaly-exporter."""

    prometheus: PrometheusConnection | None = None
    """Read series from the Prometheus HTTP API."""
    files: FilesConnection | None = None
    """Read series from a folder of tables."""
    scrape: ScrapeConnection | None = None
    """Read the metrics page of one application (sidecar); see docs/sidecar.md."""
    simulator: SimulatorConnection | None = None
    """Read series from the built-in simulator (demo)."""
    launcher: Launcher = Launcher()
    """Who starts trainings."""
    store: Store = Store()
    """Where history and models live."""
    static_labels: dict[LabelName, str] = {"env": "k8s-prod"}
    """Labels of every entity series."""
    presets: tuple[Name, ...] = ()
    """Ready-made targets: kubernetes, kube-eagle, node-exporter."""
    targets: tuple[Target, ...] = ()
    """What to watch, in order of precedence: of two targets with equal label sets the first wins."""
    models: dict[Name, Model] = {}
    """Named models; every recipe is also there under its own name."""
    training: Training = Training()
    """Defaults of every target's training."""
    threshold: Threshold = Threshold()
    """Defaults of every target's threshold."""
    season: Season = Season()
    """Defaults of every target's time zone and calendar."""
    alerting: Alerting = Alerting()
    """Defaults of every target's alert state."""
    regime: Regime = Regime()
    """Defaults of every target's changes of regime."""
    gate: Gate = Gate()
    """Defaults of every target's promotion gate; see docs/models.md."""
    routing: Routing = Routing()
    """Mail receivers per tag."""
    rules: Rules = Rules()
    """Which alerts there are on top of the ones that always are."""
    canary: Canary = Canary()
    """An anomaly of our own on a schedule, to prove that alerts arrive; see docs/canary.md."""
    control: Control = Control()
    """API and pages to start, stop and teach; off by default; see docs/control.md."""
    remedies: tuple[Remedy, ...] = ()
    """Likely next steps that alerts show, most likely first."""
    shipped_remedies: bool = True
    """After those, also show the ones that ship with the exporter."""
    feedback: Feedback = Feedback()
    """What people say about alerts, see docs/feedback.md."""
    exposition: Exposition = Exposition()
    """Label profile, limits."""
    links: Links = Links()
    """URLs of Grafana and runbooks."""
    timing: Annotated[Timing, Field()] = Timing()
    """Compressed time, for demo and replay."""

    def model(self, name: str) -> Model:
        """The model called ``name``; a recipe stands for itself. Raises KeyError for an unknown name."""
        if name in self.models:
            return self.models[name]
        if name in RECIPES:
            return Model(recipe=name)
        raise KeyError(name)

    def target(self, name: str) -> Target:
        """The target called ``name``. Raises KeyError for an unknown name."""
        for target in self.targets:
            if target.name == name:
                return target
        raise KeyError(name)

    @property
    def watched(self) -> tuple[Target, ...]:
        """The targets that were asked for: all but the canary's, which no count, rule or dashboard may contain."""
        return tuple(target for target in self.targets if target.tag != CANARY_TAG)

    @property
    def all_remedies(self) -> tuple[Remedy, ...]:
        """The configured remedies, then the shipped ones."""
        return self.remedies + (default_remedies() if self.shipped_remedies else ())

    @model_validator(mode="after")
    def _remedies_have_targets(self) -> Self:
        known = [target.name for target in self.targets]
        for remedy in self.remedies:
            if remedy.target is not None and remedy.target not in known:
                raise ValueError(f"a remedy names the target {remedy.target!r}; known are {known}")
        return self

    @model_validator(mode="after")
    def _budgets_are_about_somebody(self) -> Self:
        known = {label for target in self.targets for label in target.labels}
        for target in self.targets:
            for override in target.alerting.budget.overrides:
                if unknown := sorted(set(override.match) - known):
                    raise ValueError(
                        f"alerting.budget.overrides of target {target.name!r} match {unknown}, which no target has as "
                        f"labels; known are {sorted(known)}"
                    )
        return self

    @model_validator(mode="after")
    def _canary_is_ours(self) -> Self:
        if self.canary.enabled and self.prometheus is None:
            raise ValueError("canary.enabled needs prometheus: only there the canary can be scraped and read back")
        tags = {target.tag for target in self.targets if target.name != CANARY_TARGET or not self.canary.enabled}
        if CANARY_TAG in tags.union(route.tag for route in self.routing.routes):
            raise ValueError(f"the tag {CANARY_TAG!r} belongs to the canary: expected another one")
        return self

    @model_validator(mode="after")
    def _conditions_can_be_asked(self) -> Self:
        for target in self.targets if self.scrape or self.simulator else ():
            if target.hold_on or any(isinstance(query.limit, str) for query in target.queries):
                raise ValueError(
                    f"target {target.name!r}: hold_on, and a limit that is a query, need prometheus or files; "
                    "give the limit as a number, and use alerting.hold instead of hold_on"
                )
        return self

    @model_validator(mode="after")
    def _scraped_every_step(self) -> Self:
        for target in self.targets if self.scrape else ():
            if self.scrape and target.step < self.scrape.interval:
                raise ValueError(
                    f"scrape.interval must not exceed a target's step: {self.scrape.interval} s, but target "
                    f"{target.name!r} has a step of {target.step} s"
                )
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if sum(x is not None for x in (self.prometheus, self.files, self.scrape, self.simulator)) != 1:
            raise ValueError("exactly one of prometheus, files, scrape, simulator must be given: where are the series?")
        if not self.targets:
            raise ValueError("targets must not be empty: name a preset (presets: [kubernetes]) or write a target")
        names = [t.name for t in self.targets]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(f"target names must be unique, {twice} are used twice")
        for target in self.targets:
            for name in target.models:
                if name not in self.models and name not in RECIPES:
                    known = sorted({*self.models, *RECIPES})
                    raise ValueError(f"target {target.name!r} names the model {name!r}; known are {known}")
            if clash := set(self.static_labels).intersection((*target.labels, *RESERVED_LABELS)):
                raise ValueError(f"static_labels {sorted(clash)} clash with labels of target {target.name!r}")
        return self
