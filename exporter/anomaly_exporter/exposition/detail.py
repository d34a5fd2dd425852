"""The page for people who ask why: what thresholds were made of, how good the models are, how training went.

Most of it changes only with the generation, so its lines are kept until then; a scrape every two minutes is enough.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import numpy as np

from anomaly_exporter.generations import Entry
from anomaly_exporter.metrics import BY_NAME, DETAIL
from anomaly_exporter.snapshot import Scores, Snapshot, TargetView, TrainingStatus

from .labels import Labels, escape, extended
from .needs import why_needed
from .page import Page, Text
from .samples import lines
from .state import PER_FEATURE, PER_SERIES, detail_lines

Chunk = tuple[str, int]
Extra = tuple[str, ...]
"""Values of the labels that a metric has beyond those of the series."""

PARTS: Final[Mapping[str, str]] = {
    "anomaly_threshold_previous": "previous",
    "anomaly_threshold_recent": "recent",
    "anomaly_threshold_previous_sigma": "previous_sigma",
    "anomaly_threshold_recent_sigma": "recent_sigma",
    "anomaly_threshold_weight": "weight",
    "anomaly_threshold_decay": "decay",
}
INJECTED: Final = {
    "recall": "recall",
    "level_recall": "recall_beside_baseline",
    "baseline_recall": "baseline_recall",
}
"""Measures of the split ``injected`` and their names among the figures."""
WITHOUT_MODEL: Final = frozenset({"no_model", "config_changed", "model_failed"})


def _mapping(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = data.get(key)
    return value if isinstance(value, Mapping) else {}


def _by_method(key: str, inner: str) -> Callable[[Entry], Iterable[tuple[Extra, Any]]]:
    def values(entry: Entry) -> Iterable[tuple[Extra, Any]]:
        found = _mapping(entry.figures, key)
        return [((method,), _mapping(found, method).get(inner)) for method in found]

    return values


def _base(entry: Entry) -> Iterable[tuple[Extra, Any]]:
    return [((method,), value) for method, value in _mapping(entry.figures, "base").items()]


def _budget(key: str) -> Callable[[Entry], Iterable[tuple[Extra, Any]]]:
    return lambda entry: [((), _mapping(entry.figures, "budget").get(key))]


def _quality(entry: Entry) -> Iterable[tuple[Extra, Any]]:
    splits = _mapping(entry.figures, "quality")
    known = [((measure, split), value) for split in splits for measure, value in _mapping(splits, split).items()]
    injected = _mapping(entry.figures, "injected")
    return [*known, *(((measure, "injected"), injected.get(name)) for measure, name in INJECTED.items())]


def _injected_delay(entry: Entry) -> Iterable[tuple[Extra, Any]]:
    return [((), _mapping(entry.figures, "injected").get("delay"))]


def _rejections(entry: Entry) -> Iterable[tuple[Extra, Any]]:
    return [((), entry.gate.get("rejections"))]


def _shift(entry: Entry) -> Iterable[tuple[Extra, Any]]:
    return [((since,), ratio) for since, ratio in _mapping(entry.gate, "shift").items()]


def _training(key: str) -> Callable[[Entry], Iterable[tuple[Extra, Any]]]:
    return lambda entry: [((), entry.training.get(key))]


def _training_by_split(key: str) -> Callable[[Entry], Iterable[tuple[Extra, Any]]]:
    return lambda entry: [((split,), value) for split, value in _mapping(entry.training, key).items()]


def _info(entry: Entry) -> Iterable[tuple[Extra, Any]]:
    recipe = str(entry.training.get("recipe", entry.model))
    scope = str(entry.training.get("scope", "own"))
    beaten = "" if _beats(entry) else str(_mapping(entry.figures, "injected").get("baseline", ""))
    return [((str(entry.training.get("architecture", recipe)), scope, recipe, beaten), 1)]


def _beats(entry: Entry) -> bool:
    """Whether the model catches as much as the best simple baseline at as many alerts; True where nobody knows."""
    return _mapping(entry.figures, "injected").get("beats_baseline") is not False


STATIC: Final[Mapping[str, Callable[[Entry], Iterable[tuple[Extra, Any]]]]] = {
    "anomaly_base_threshold": _base,
    "anomaly_alert_budget": _budget("asked"),
    "anomaly_alert_budget_attainable": _budget("attainable"),
    "anomaly_above_threshold_ratio": _by_method("above", "ratio"),
    "anomaly_above_threshold_mean_error": _by_method("above", "mean_error"),
    "anomaly_model_quality": _quality,
    "anomaly_model_injected_delay_seconds": _injected_delay,
    "anomaly_model_rejections": _rejections,
    "anomaly_threshold_shift_ratio": _shift,
    "anomaly_model_trained_timestamp_seconds": lambda entry: [((), entry.trained_at)],
    "anomaly_model_evaluated_timestamp_seconds": lambda entry: [((), entry.evaluated_at)],
    "anomaly_model_info": _info,
    "anomaly_model_inference_seconds": _training("inference_seconds"),
    "anomaly_training_start_timestamp_seconds": _training("started_at"),
    "anomaly_training_duration_seconds": _training("seconds"),
    "anomaly_training_epochs": _training("epochs"),
    "anomaly_training_best_epoch": _training("best_epoch"),
    "anomaly_training_loss": _training_by_split("loss"),
    "anomaly_training_masked_ratio": _training("masked_ratio"),
    "anomaly_training_samples": _training_by_split("samples"),
}
"""What a generation's entry says, per metric: values of the further labels, and the number."""


class DetailCache:
    """Lines of the entries of a pack, for as long as its generation is in force and the same rows speak."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, int], tuple[tuple[Entry, ...], bytes, dict[str, Chunk]]] = {}
        self._asked: set[tuple[str, int]] = set()

    def of(self, target: str, scores: Scores, labels: Labels) -> dict[str, Chunk]:
        """Ready lines per metric of :data:`STATIC`."""
        key, owned = (target, id(scores.entries)), scores.owned.tobytes()
        self._asked.add(key)
        kept = self._kept.get(key)
        if kept is None or kept[0] is not scores.entries or kept[1] != owned:
            texts = labels.of(target, scores.entries)
            rows = [(scores.entries[i], texts[i]) for i in np.flatnonzero(scores.owned)]
            kept = self._kept[key] = (scores.entries, owned, {name: _static(name, rows) for name in STATIC})
        return kept[2]

    def sweep(self) -> None:
        """Forget what was not asked for since the last sweep."""
        for key in set(self._kept) - self._asked:
            del self._kept[key]
        self._asked = set()


def render_detail(
    snapshot: Snapshot, training: Mapping[str, TrainingStatus], labels: Labels, cache: DetailCache
) -> Page:
    """``/metrics/detail``; ``training`` is the newest run per target."""
    text = Text()
    ready = [[cache.of(view.target, scores, labels) for scores in view.scores] for view in snapshot.views]
    for spec in DETAIL:
        chunks: Iterable[Chunk]
        if spec.name in STATIC:
            chunks = [lines_of[spec.name] for of_view in ready for lines_of in of_view]
        elif spec.name in PARTS:
            chunks = _parts(spec.name, snapshot, labels)
        elif spec.name in PER_SERIES or spec.name in PER_FEATURE:
            chunks = detail_lines(spec.name, snapshot, labels)
        elif spec.name == "anomaly_member_score":
            chunks = _members(spec.name, snapshot, labels)
        elif spec.name == "anomaly_confidence_ratio":
            chunks = _confidence(spec.name, snapshot, labels)
        else:
            chunks = [_now(spec.name, view, training.get(view.target), labels) for view in snapshot.views]
        text.family(spec.name, spec.kind, spec.help, chunks)
    return text.page()


def _static(name: str, rows: Iterable[tuple[Entry, str]]) -> Chunk:
    names, values = BY_NAME[name].labels, STATIC[name]
    return _joined(
        f"{name}{_extended(text, names, extra)} {value!r}\n"
        for entry, text in rows
        for extra, value in values(entry)
        if _is_number(value)
    )


def _parts(name: str, snapshot: Snapshot, labels: Labels) -> Iterator[Chunk]:
    for view in snapshot.views:
        for scores in view.scores:
            if PARTS[name] in scores.parts:
                yield lines(name, labels.of(view.target, scores.entries), scores.parts[PARTS[name]], scores.shown)


def _members(name: str, snapshot: Snapshot, labels: Labels) -> Iterator[Chunk]:
    for view in snapshot.views:
        for scores in view.scores:
            if scores.members is not None:
                texts = labels.of_values(view.target, scores.entries, "member", scores.member_names)
                shown = np.repeat(scores.shown, len(scores.member_names))
                yield lines(name, texts, np.ravel(scores.members), shown)


def _confidence(name: str, snapshot: Snapshot, labels: Labels) -> Iterator[Chunk]:
    for view in snapshot.views:
        for scores in view.scores:
            if scores.confidence is not None:
                yield lines(name, labels.of(view.target, scores.entries), scores.confidence, scores.shown)


def _now(name: str, view: TargetView, status: TrainingStatus | None, labels: Labels) -> Chunk:
    """Lines that depend on more than an entry: which generation, what training does, who waits for it."""
    owned = [
        (scores.entries[i], labels.of(view.target, scores.entries)[i])
        for scores in view.scores
        for i in np.flatnonzero(scores.owned)
    ]
    if name == "anomaly_model_generation":
        return _joined(f"{name}{text} {view.generation}\n" for _, text in owned if view.generation is not None)
    waiting = [
        labels.text(view.target, entity, item.model)
        for item in view.unscored
        if item.reason in WITHOUT_MODEL
        for entity in item.entities
    ]
    if name == "anomaly_training_needed":
        # A series that only the shared model serves still waits for its own training.
        reasons = [
            (text, why_needed(view.target, view.wall, scores, i, labels))
            for scores in view.scores
            for i, text in enumerate(labels.of(view.target, scores.entries))
            if scores.owned[i]
        ]
        reasons += [
            (labels.text(view.target, entity, item.model), item.reason)
            for item in view.unscored
            if item.reason in WITHOUT_MODEL
            for entity in item.entities
        ]
        return _joined(f"{name}{_extended(t, ('reason',), (r,))} {int(bool(r))}\n" for t, r in reasons)
    state = status.state if status else "waiting"
    decided = state if state in ("running", "failed", "stopped") else None
    states = [(text, decided or str(entry.training.get("state", "succeeded"))) for entry, text in owned]
    states += [(text, decided or "waiting") for text in waiting]
    return _joined(f"{name}{_extended(text, ('state',), (word,))} 1\n" for text, word in states)


def _extended(text: str, names: tuple[str, ...], values: Extra) -> str:
    if not names:
        return text
    return extended(text, ",".join(f'{n}="{escape(str(v))}"' for n, v in zip(names, values, strict=True)))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _joined(made: Iterable[str]) -> Chunk:
    all_lines = list(made)
    return "".join(all_lines), len(all_lines)
