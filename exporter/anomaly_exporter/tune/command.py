"""The body of the command and its exit codes.

0 done, 2 configuration or command line, 3 the source cannot be read, 4 nothing could be trained, 5 the store cannot be
written, 130 stopped by a signal (what was tried until then is lost).
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from anomaly_exporter import specs
from anomaly_exporter.blobs import BlobError, open_blobs
from anomaly_exporter.clock import Clock
from anomaly_exporter.config import Config, ConfigError, Model, Target, load
from anomaly_exporter.generations import tunings
from anomaly_exporter.history import History
from anomaly_exporter.sources import SourceCounters, SourceError, open_source
from anomaly_exporter.train.reading import update
from anomaly_exporter.train.stopping import EXIT_STOPPED, Stopped, stop_on_signals
from anomaly_models import tuning
from anomaly_models.exceptions import AnomalyModelsError
from anomaly_models.frame import Block, Span, newest_instant
from anomaly_models.proving import Rules
from anomaly_models.training import Plan
from anomaly_models.tuning import Arena, Trial

from . import report

log = logging.getLogger(__name__)

EXIT_OK, EXIT_CONFIG, EXIT_SOURCE, EXIT_NOTHING, EXIT_STORE = 0, 2, 3, 4, 5

FAILURES: tuple[tuple[tuple[type[Exception], ...], int], ...] = (
    ((SourceError,), EXIT_SOURCE),
    ((AnomalyModelsError,), EXIT_NOTHING),
    ((BlobError, OSError), EXIT_STORE),
    ((ConfigError, ValueError, ModuleNotFoundError), EXIT_CONFIG),
)
"""Exit codes by what went wrong, the first that fits."""


@dataclass(frozen=True)
class Request:
    """What to search: ``trials`` settings of ``model`` (None: the target's first), each trained ``executions`` times
    for at most ``entities`` series of ``target``. ``name`` of the winner in `models`; ``write``: a file for it."""

    target: str
    model: str | None = None
    trials: int = 12
    executions: int = 1
    entities: int = 16
    seed: int = 0
    name: str | None = None
    write: Path | None = None


def run(config_path: Path, request: Request, output: str = "text", clock: Clock | None = None) -> int:
    """Search, print the results as ``output`` (text or json) says, store them; the exit code."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        config = load(config_path).config
        target, model = _wanted(config, request)
        with stop_on_signals():
            found = _search(config, target, model, request, clock or Clock.of(config.timing))
    except Stopped:
        return _failed("stopped by a signal, nothing was written", EXIT_STOPPED)
    except Exception as error:
        for kinds, code in FAILURES:
            if isinstance(error, kinds):
                return _failed(error, code)
        raise
    sys.stdout.write(json.dumps(found, indent=2) + "\n" if output == "json" else report.text(found))
    return EXIT_OK


def _wanted(config: Config, request: Request) -> tuple[Target, str]:
    """Target and model of ``request``. Raises ConfigError."""
    try:
        target = config.target(request.target)
    except KeyError:
        known = ", ".join(t.name for t in config.targets)
        raise ConfigError(f"--target: {request.target!r} is not configured, known are {known}") from None
    model = request.model or target.models[0]
    try:
        config.model(model)
    except KeyError:
        known = ", ".join(sorted({*config.models, *target.models}))
        raise ConfigError(f"--model: {model!r} is not configured, known are {known} and every recipe") from None
    return target, model


def _search(config: Config, target: Target, name: str, request: Request, clock: Clock) -> dict[str, Any]:
    """Try the settings and store what came of them; the results as JSON."""
    model = config.model(name)
    plan = Plan(
        model=specs.model_spec(model, target),
        cleaning=specs.cleaning_spec(target, model),
        threshold=specs.threshold_spec(target),
        split=target.training.split,
        min_samples=max(target.training.min_history // target.step, 1),
        persistence=specs.persistence(target.alerting, target.threshold, model),
    )
    picked = list(tuning.settings(plan.model, request.trials, request.seed))
    blobs = open_blobs(config.store)
    block = _read(config, target, clock, History(blobs), request)
    rules = Rules(
        plan.threshold, specs.alert_spec(target, model), target.needed_features, specs.budgets(target, block.entities)
    )
    arena = Arena.of(block, plan, rules, tuple(target.gate.amplitudes))
    progress = _Progress(sys.stderr, len(picked) + 1)
    untuned = arena.run({}, request.executions)
    progress.step()
    trials: list[Trial] = []
    for settings in picked:
        try:
            trials.append(arena.run(settings, request.executions))
        except AnomalyModelsError as error:
            log.warning("a setting cannot be trained", extra={"settings": str(settings), "error": str(error)})
        progress.step()
    best = tuning.winner(trials, untuned)
    entry = _entry(model, best.settings)
    key = request.name or (f"{name}-tuned" if best is not untuned else name)
    found = report.document(target.name, name, key, entry, untuned, trials, best)
    found |= {"entities": len(arena.block.entities), "executions": request.executions, "finished_at": clock.wall()}
    if request.write is not None:
        request.write.write_text(report.yaml_text(key, entry), encoding="utf-8")
    tunings.put(blobs, target.name, clock.wall(), found)
    return found


def _read(config: Config, target: Target, clock: Clock, history: History, request: Request) -> Block:
    """The newest history of some entities, brought up to date first: evenly spread over all of them."""
    end = max(newest_instant(clock.now(), target.step, target.delay) + target.step, 0)
    span = Span(max(end - target.training.history // target.step * target.step, 0), end)
    update(open_source(config, clock, SourceCounters(), open_blobs(config.store)), history, target, span)
    everybody = history.entities(target, span)
    every = np.linspace(0, len(everybody) - 1, min(request.entities, len(everybody))).round().astype(int)
    return history.read(target, span, entities=[everybody[i] for i in every])


def _entry(model: Model, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The section of `models` that ``model`` with ``settings`` is: only what differs from the defaults."""
    tuned = Model(**{**model.model_dump(), **settings, "tail": min(model.tail, settings.get("window", model.window))})
    return tuned.model_dump(exclude_defaults=True, mode="json")


class _Progress:
    """A bar on a terminal, a line of the log elsewhere."""

    def __init__(self, stream: TextIO, total: int) -> None:
        self.stream, self.total, self.done = stream, total, 0

    def step(self) -> None:
        self.done += 1
        if self.stream.isatty():
            filled = "#" * round(30 * self.done / self.total)
            end = "\n" if self.done == self.total else ""
            self.stream.write(f"\rtune [{filled:<30}] {self.done}/{self.total}{end}")
            self.stream.flush()
        else:
            log.info("tuning", extra={"done": self.done, "total": self.total})


def _failed(error: object, code: int) -> int:
    sys.stderr.write(f"{error}\n")
    return code
