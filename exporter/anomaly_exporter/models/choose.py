"""Which models of a generation a command is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from anomaly_exporter.config import ConfigError
from anomaly_exporter.generations import Generation
from anomaly_exporter.generations.documents import Key


def labels_of(pairs: Sequence[str]) -> dict[str, str]:
    """Labels of ``NAME=VALUE`` words. Raises ConfigError."""
    if wrong := [p for p in pairs if "=" not in p]:
        raise ConfigError(f"--entity: expected NAME=VALUE, received {wrong[0]!r}")
    return dict(p.split("=", 1) for p in pairs)


def chosen(generation: Generation, labels: Mapping[str, str], model: str | None) -> list[Key]:
    """Entities with all of ``labels`` and their models (only ``model``, where given), sorted.

    Raises:
        ConfigError: none; says which labels or models there are.
    """
    keys = sorted(generation.entries)
    found = [
        (entity, name)
        for entity, name in keys
        if (model is None or name == model) and labels.items() <= dict(entity.labels).items()
    ]
    if not found:
        names = sorted({name for _, name in keys})
        example = str(keys[0][0]) if keys else "none"
        wanted = ", ".join([*(f"{k}={v}" for k, v in labels.items()), *([f"model {model}"] if model else [])])
        raise ConfigError(
            f"no series of {generation.target} fits {wanted or 'all'}: it has {len(keys)} models of the names "
            f"{', '.join(names) or 'none'}, for series such as {example}"
        )
    return found
