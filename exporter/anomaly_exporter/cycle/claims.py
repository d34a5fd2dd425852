"""Who may speak for a series: the first target of the file that has it, and not more series than allowed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from anomaly_exporter.config import Config, Target
from anomaly_exporter.snapshot import Scores, TargetView, Unscored
from anomaly_models.frame import Bool, EntityKey

Series = tuple[tuple[tuple[str, str], ...], str]
"""Labels of an entity, and the model."""


def settle(views: Sequence[TargetView], config: Config) -> tuple[TargetView, ...]:
    """``views``, in the order of the configuration, without duplicates and without what is beyond the limit.

    A series belongs to the first target that knows it, also while that target cannot be read: it must not change its
    meaning from one cycle to the next.
    """
    settled: list[TargetView] = []
    left = config.exposition.max_series
    for view in views:
        earlier = [v for v in settled if _may_clash(config.target(v.target), config.target(view.target))]
        claimed = {series for v in earlier for series in _series(v)}
        unique = _without(view, "duplicate", claimed) if claimed else view
        limited, left = _limited(unique, left)
        settled.append(limited)
    return tuple(settled)


def _may_clash(one: Target, other: Target) -> bool:
    """Whether series of two targets can have equal labels."""
    return one.metric == other.metric and bool(set(one.models) & set(other.models))


def _series(view: TargetView) -> Iterable[Series]:
    """Every series that a view knows, shown or not."""
    for scores in view.scores:
        for entry, owned in zip(scores.entries, scores.owned.tolist(), strict=True):
            if owned:
                yield entry.entity.labels, scores.model
    for item in view.unscored:
        for entity in item.entities:
            yield entity.labels, item.model


def _limited(view: TargetView, left: int) -> tuple[TargetView, int]:
    """``view`` with at most ``left`` entities, and how many more may follow."""
    owned: Counter[str] = Counter()
    for found in view.scores:
        owned[found.model] += int(np.count_nonzero(found.owned))
    entities = max(owned.values(), default=0)
    if entities <= left:
        return view, left - entities
    known = {e.entity for s in view.scores for e, mine in zip(s.entries, s.owned.tolist(), strict=True) if mine}
    beyond = {(e.labels, model) for e in sorted(known)[left:] for model in owned}
    return _without(view, "limit", beyond), 0


def _without(view: TargetView, reason: str, taken: set[Series]) -> TargetView:
    """``view`` without the series ``taken``; they are unscored for ``reason``, whatever the reason was before."""
    scores: list[Scores] = []
    lost: dict[str, list[EntityKey]] = {}
    for found in view.scores:
        mine: Bool = np.array([(e.entity.labels, found.model) not in taken for e in found.entries], np.bool_)
        gone = found.owned & ~mine
        lost.setdefault(found.model, []).extend(found.entries[i].entity for i in np.flatnonzero(gone & found.shown))
        scores.append(replace(found, owned=found.owned & mine, shown=found.shown & mine) if gone.any() else found)
    unscored: list[Unscored] = []
    for item in view.unscored:
        kept = tuple(e for e in item.entities if (e.labels, item.model) not in taken)
        moved = [e for e in item.entities if (e.labels, item.model) in taken]
        lost.setdefault(item.model, []).extend(moved)
        if kept:
            unscored.append(replace(item, entities=kept))
    unscored += [Unscored(model, reason, tuple(entities)) for model, entities in lost.items() if entities]
    return replace(view, scores=tuple(scores), unscored=tuple(unscored))
