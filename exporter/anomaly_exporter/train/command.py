"""The command's body and its exit codes.

0 done, 2 configuration, 3 the source cannot be read, 4 nothing could be trained, 5 the store cannot be written,
130 stopped by a signal.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from anomaly_exporter.blobs import BlobError, open_blobs
from anomaly_exporter.clock import Clock
from anomaly_exporter.config import Config, ConfigError, Target, load, overridden, read_overrides
from anomaly_exporter.feedback import Feedback, Shelf
from anomaly_exporter.generations import GenerationError, Generations
from anomaly_exporter.generations.sharding import UNDIVIDED, Shard, ShardError, parse_shard
from anomaly_exporter.history import History
from anomaly_exporter.launch.reports import Report, told, write
from anomaly_exporter.sources import SourceCounters, SourceError, open_source
from anomaly_models.frame import Span, newest_instant

from .events import Emit, for_people, json_lines
from .fitting import Outcome, Run
from .reading import update
from .stopping import EXIT_STOPPED, Stopped, stop_on_signals
from .teaching import Teaching

log = logging.getLogger(__name__)

EXIT_OK, EXIT_CONFIG, EXIT_SOURCE, EXIT_NOTHING, EXIT_STORE = 0, 2, 3, 4, 5
GRAVITY = (EXIT_STOPPED, EXIT_STORE, EXIT_SOURCE, EXIT_CONFIG)
INDEX = "JOB_COMPLETION_INDEX"
"""Where Kubernetes tells the pods of an Indexed Job their number."""


@dataclass(frozen=True)
class Request:
    """What to train: ``models`` of ``target`` for the entities of ``shard``.

    ``kept``: seconds of history that are not forgotten, also by a training that learns from less.
    """

    config: Config
    target: Target
    models: tuple[str, ...]
    shard: Shard = UNDIVIDED
    kept: int = 0


def run(
    config_path: Path,
    target: str | None,
    *,
    model: str | None = None,
    shard: str = "0/1",
    override: str | None = None,
    output: str = "text",
) -> int:
    """Train ``target``, or one target after the other for None, and return the exit code.

    ``override``: JSON of what this training does differently (:class:`anomaly_exporter.config.Overrides`). Events go to
    stdout as ``output`` (text or json) says.
    """
    emit = json_lines(sys.stdout) if output == "json" else for_people(sys.stdout)
    # The chatter of TensorFlow's start is of no use in a log; must be set before it is imported.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        config = load(config_path).config
        names = [target] if target else [t.name for t in config.targets]
        requests = [request(config, name, model, shard, override) for name in names]
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_CONFIG
    codes = []
    for wanted in requests:
        codes.append(train_target(wanted, emit))
        if codes[-1] == EXIT_STOPPED:
            break
    return worst(codes)


def worst(codes: Sequence[int]) -> int:
    """The exit code of several trainings: what a retry can heal comes first, and nothing trainable is no failure of
    the whole while others were trained."""
    failures = [code for code in codes if code not in (EXIT_OK, EXIT_NOTHING)]
    if failures:
        return min(failures, key=GRAVITY.index)
    return EXIT_OK if EXIT_OK in codes else EXIT_NOTHING


def request(
    config: Config, target: str, model: str | None = None, shard: str = "0/1", override: str | None = None
) -> Request:
    """What the command line asks for. Raises ConfigError, naming what was expected."""
    try:
        part = parse_shard(shard, {INDEX: os.environ.get(INDEX)})
    except ShardError as error:
        raise ConfigError(str(error)) from error
    try:
        wanted = config.target(target)
    except KeyError:
        known = ", ".join(t.name for t in config.targets)
        raise ConfigError(f"--target: {target!r} is not configured, known are {known}") from None
    kept = wanted.training.history
    if override:
        overrides = read_overrides(override)
        config = overridden(config, target, overrides)
        wanted, model = config.target(target), model or overrides.model
    if model is None:
        return Request(config, wanted, wanted.models, part, kept)
    if model not in wanted.models:
        raise ConfigError(f"--model: target {target!r} has the models {', '.join(wanted.models)}, not {model!r}")
    return Request(config, wanted, (model,), part, kept)


def train_target(wanted: Request, emit: Emit, clock: Clock | None = None) -> int:
    """Train what is ``wanted``; the exit code. ``clock`` instead of the configuration's is for tests."""
    began, name = time.monotonic(), wanted.target.name
    clock = clock or Clock.of(wanted.config.timing)
    report = Report(name, str(wanted.shard), clock.wall())

    def noted(event: dict[str, Any]) -> None:
        nonlocal report
        report = told(report, event)
        emit(event)

    try:
        with stop_on_signals():
            code = _guarded(wanted, noted, clock)
    except Stopped:
        log.warning("stopped by a signal, the last good generation stays in force", extra={"target": name})
        code = EXIT_STOPPED
    gc.collect()
    if wanted.config.launcher.kind != "local":
        _leave(wanted, replace(report, ended=clock.wall()))
    outcome = "succeeded" if code == EXIT_OK else "failed"
    emit({"event": "done", "target": name, "outcome": outcome, "seconds": round(time.monotonic() - began, 3)})
    return code


def _leave(wanted: Request, report: Report) -> None:
    """Leave ``report`` in the store: whoever follows this training from elsewhere hears no event of it."""
    try:
        write(open_blobs(wanted.config.store), report)
    except BlobError as error:
        log.warning("no report was left", extra={"target": report.target, "error": str(error)})


def _guarded(wanted: Request, emit: Emit, clock: Clock) -> int:
    """Train; what can go wrong as an exit code and a line of the log."""
    about = {"target": wanted.target.name}
    try:
        outcomes = _train(wanted, emit, clock)
    except SourceError as error:
        log.error("source cannot be read", extra={**about, "outcome": error.outcome, "error": str(error)})
        return EXIT_SOURCE
    except (BlobError, GenerationError) as error:
        log.error("store failed, what is in force stays", extra={**about, "reason": error.reason, "error": str(error)})
        return EXIT_STORE
    except (ModuleNotFoundError, ValueError) as error:
        # The sections are valid one by one; what they ask for together, or of this installation, is not.
        hint = " (pip install 'anomaly-exporter[train-cpu]')" if isinstance(error, ModuleNotFoundError) else ""
        log.error("the configuration cannot be trained", extra={**about, "error": f"{error}{hint}"})
        return EXIT_CONFIG
    if outcomes is not None and not any(o.trained for o in outcomes.values()):
        failed = {model: dict(o.failed) for model, o in outcomes.items()}
        log.error("nothing could be trained", extra={**about, "failed": str(failed)})
        return EXIT_NOTHING
    return EXIT_OK


def _train(wanted: Request, emit: Emit, clock: Clock) -> dict[str, Outcome] | None:
    """What became of the entities, per model; None when the shard owns none of those that there are."""
    config, target = wanted.config, wanted.target
    began = clock.wall()
    blobs = open_blobs(config.store)
    history, generations = History(blobs), Generations(blobs, clock.wall)
    end = max(newest_instant(clock.now(), target.step, target.delay) + target.step, 0)
    span = Span(max(end - target.training.history // target.step * target.step, 0), end)
    source = open_source(config, clock, SourceCounters(), blobs)
    samples = update(source, history, target, span)
    oldest = max(end - max(wanted.kept, target.training.history) // target.step * target.step, 0)
    history.retain(target, oldest - target.step)
    everybody = history.entities(target, span)
    entities = [e for e in everybody if wanted.shard.owns(e)]
    emit({"event": "start", "target": target.name, "entities": len(entities), "samples_read": samples})
    if everybody and not entities:
        log.info("this shard owns no entity of the target", extra={"target": target.name, "shard": str(wanted.shard)})
        return None
    teaching = Teaching.of(config, target, Feedback(blobs, clock.wall), Shelf(blobs))
    run_ = Run(config, target, clock, history, generations, span, began, emit, oldest, teaching)
    outcomes = run_.fit(wanted.models, entities)
    pruned = generations.prune(target.name, config.store.keep_generations)
    log.info("pruned", extra={"target": target.name, "generations": pruned.generations, "packs": pruned.packs})
    return outcomes
