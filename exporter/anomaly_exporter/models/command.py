"""The bodies of the commands and their exit codes.

0 done, 2 configuration or command line, 4 nothing to do it with (no generation, no earlier or rejected model), 5 the
store cannot be read or written.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from anomaly_exporter.blobs import BlobError, open_blobs
from anomaly_exporter.clock import Clock
from anomaly_exporter.config import Config, ConfigError, load
from anomaly_exporter.generations import Generation, GenerationError, GenerationMissingError, Generations
from anomaly_exporter.generations.documents import Key

from . import report
from .choose import chosen, labels_of

EXIT_OK, EXIT_CONFIG, EXIT_NOTHING, EXIT_STORE = 0, 2, 4, 5
PAST: Final = 16
"""Earlier generations that are looked at."""
Body = Callable[[Config, Generations], tuple[Any, str]]
"""What a command found or did: a JSON document and the text for people."""


def run_list(config_path: Path, target: str | None, labels: Sequence[str], model: str | None, output: str) -> int:
    """Print the generations of every target, or the models in force for ``target``."""

    def body(config: Config, generations: Generations) -> tuple[Any, str]:
        if target is None:
            rows = [report.target(t.name, generations.past(t.name, PAST)) for t in config.targets]
            return rows, report.targets_text(rows)
        current = _current(config, generations, target)
        rows = [report.model(current.entries[key]) for key in chosen(current, labels_of(labels), model)]
        return rows, report.models_text(rows)

    return _answered(config_path, output, body)


def run_show(config_path: Path, target: str, labels: Sequence[str], model: str | None, output: str) -> int:
    """Print everything about the chosen models of ``target``."""

    def body(config: Config, generations: Generations) -> tuple[Any, str]:
        current = _current(config, generations, target)
        past = generations.past(target, PAST)
        found = [report.details(current.entries[key], past) for key in chosen(current, labels_of(labels), model)]
        return found, "\n".join(report.details_text(one) for one in found)

    return _answered(config_path, output, body)


def run_rollback(config_path: Path, target: str, labels: Sequence[str], model: str | None, output: str) -> int:
    """Return to the generation before the newest round of training, or to the earlier models of the chosen series."""

    def body(config: Config, generations: Generations) -> tuple[Any, str]:
        before = _current(config, generations, target)
        if not labels and model is None:
            after = generations.rollback(target)
        else:
            after = generations.restore(target, chosen(before, labels_of(labels), model))
        return _changed("rolled back", before, after)

    return _answered(config_path, output, body)


def run_promote(config_path: Path, target: str, labels: Sequence[str], model: str | None, output: str) -> int:
    """Put the rejected models of the chosen series in force; of all series that have one where none was chosen."""

    def body(config: Config, generations: Generations) -> tuple[Any, str]:
        before = _current(config, generations, target)
        keys = chosen(before, labels_of(labels), model)
        waiting = [key for key in keys if before.entries[key].rejected is not None]
        if not waiting:
            raise GenerationMissingError(f"{target}: no rejected model of the {len(keys)} chosen; nothing to promote")
        return _changed("promoted", before, generations.promote(target, waiting))

    return _answered(config_path, output, body)


def _changed(word: str, before: Generation, after: Generation) -> tuple[Any, str]:
    """What is in force ``after`` and was not ``before``."""
    keys: list[Key] = sorted(set(before.entries) | set(after.entries))
    moved = [k for k in keys if _place(before, k) != _place(after, k)]
    models = [report.model(after.entries[k]) for k in moved if k in after.entries]
    gone = [k for k in moved if k not in after.entries]
    text = f"{after.target}: {len(moved)} models {word}, generation {after.number} is in force\n"
    if gone:
        text += f"{len(gone)} series had no model then and wait for the next training\n"
    document = {"target": after.target, "generation": after.number, "changed": len(moved), "models": models}
    return document, text + (report.models_text(models) if models else "")


def _place(generation: Generation, key: Key) -> tuple[str, int] | None:
    entry = generation.entries.get(key)
    return None if entry is None else entry.place


def _current(config: Config, generations: Generations, target: str) -> Generation:
    """What is in force for a configured target. Raises ConfigError, GenerationError."""
    try:
        config.target(target)
    except KeyError:
        known = ", ".join(t.name for t in config.targets)
        raise ConfigError(f"--target: {target!r} is not configured, known are {known}") from None
    current = generations.current(target)
    if current is None:
        raise GenerationMissingError(f"{target} has no generation yet: train first")
    return current


def _answered(config_path: Path, output: str, body: Body) -> int:
    """Run ``body`` and print what it says; the exit code."""
    try:
        config = load(config_path).config
        generations = Generations(open_blobs(config.store), Clock.of(config.timing).wall)
        document, text = body(config, generations)
    except ConfigError as error:
        return _failed(error, EXIT_CONFIG)
    except GenerationMissingError as error:
        return _failed(error, EXIT_NOTHING)
    except (GenerationError, BlobError) as error:
        return _failed(error, EXIT_STORE)
    sys.stdout.write(json.dumps(document, indent=2) + "\n" if output == "json" else text)
    return EXIT_OK


def _failed(error: Exception, code: int) -> int:
    sys.stderr.write(f"{error}\n")
    return code
