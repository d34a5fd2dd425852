"""The label set of every series as ready text, made once per generation and reused in every cycle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from anomaly_exporter.config import Config, Target
from anomaly_exporter.generations import Entry
from anomaly_models.frame import EntityKey


def escape(value: str) -> str:
    """A label value inside its quotes, as the text format 0.0.4 wants it."""
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def label_text(labels: Mapping[str, str]) -> str:
    """``{a="x",b="y"}``; an empty value is the same as no label and is left out."""
    return "{" + ",".join(f'{name}="{escape(value)}"' for name, value in labels.items() if value) + "}"


def entity_labels(config: Config, target: Target, entity: EntityKey, model: str) -> dict[str, str]:
    """Labels of one series in the order they are written: static ones, the entity's, then metric, model and tag.

    ``tag`` routes the mail: constant, or the value of the label ``tag_from``. Names are those of the label profile.
    """
    own = dict(entity.labels)
    out = dict(config.static_labels)
    for name in target.labels:
        out.setdefault(config.exposition.emitted(name), own.get(name, ""))
    tag = target.tag if target.tag is not None else own.get(target.tag_from, "")
    return {**out, "metric": target.metric, "model": model, "tag": tag}


class Labels:
    """Label texts of series under one configuration.

    The tuple of entries of a pack lives as long as its generation, so texts are kept by its identity; what the last
    cycle did not ask for is forgotten at :meth:`sweep`.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._targets = {target.name: target for target in config.targets}
        self._texts: dict[tuple[str, int], tuple[tuple[Entry, ...], list[str]]] = {}
        self._further: dict[tuple[str, int, str], tuple[tuple[Entry, ...], list[str]]] = {}
        self._asked: set[tuple[str, int]] = set()

    def longest(self, target: str, factor: float) -> float:
        """Wall seconds of ``factor`` training intervals of a target."""
        return factor * self._targets[target].training.every / self._config.timing.speed

    def wall_duration(self, data_seconds: float) -> float:
        """Wall seconds that ``data_seconds`` take."""
        return data_seconds / self._config.timing.speed

    def of(self, target: str, entries: tuple[Entry, ...]) -> list[str]:
        """One text per entry."""
        key = (target, id(entries))
        self._asked.add(key)
        kept = self._texts.get(key)
        if kept is None or kept[0] is not entries:
            texts = [self.text(target, entry.entity, entry.model) for entry in entries]
            kept = self._texts[key] = (entries, texts)
        return kept[1]

    def of_features(self, target: str, entries: tuple[Entry, ...], features: Sequence[str]) -> list[str]:
        """One text per entry and feature, the features of an entry side by side."""
        return self.of_values(target, entries, "feature", features)

    def of_values(self, target: str, entries: tuple[Entry, ...], label: str, values: Sequence[str]) -> list[str]:
        """One text per entry and value of a further ``label``, the values of an entry side by side.

        The values must not change while the entries stand.
        """
        key = (target, id(entries), label)
        texts = self.of(target, entries)
        kept = self._further.get(key)
        if kept is None or kept[0] is not entries:
            ends = [f'{label}="{escape(value)}"' for value in values]
            kept = self._further[key] = (entries, [extended(text, end) for text in texts for end in ends])
        return kept[1]

    def text(self, target: str, entity: EntityKey, model: str) -> str:
        """The text of one series."""
        return label_text(entity_labels(self._config, self._targets[target], entity, model))

    def sweep(self) -> None:
        """Forget texts that nobody asked for since the last sweep."""
        self._texts = {key: kept for key, kept in self._texts.items() if key in self._asked}
        self._further = {key: kept for key, kept in self._further.items() if key[:2] in self._asked}
        self._asked = set()


def extended(text: str, more: str) -> str:
    """``text`` with one or more further ``name="value"`` pairs."""
    return f"{text[:-1]},{more}}}" if len(text) > 2 else f"{{{more}}}"
