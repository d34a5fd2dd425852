"""What PromQL does for the sources that have no PromQL: select series by a plain selector, aggregate them by labels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anomaly_exporter.config import Query, Target
from anomaly_models.frame import F32, I64, Block, EntityKey

from .base import SourceRejectedError
from .promql import Selector, selector

F64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RawSeries:
    """One raw series on the grid: ``values`` float64 [T], NaN = missing."""

    metric: str
    labels: Mapping[str, str]
    values: F64


def plain(target: Target, query: Query) -> Selector:
    """The selector that ``query`` is. Raises SourceRejectedError for other PromQL and a bad regular expression."""
    found = selector(query.expr)
    if found is None:
        raise SourceRejectedError(
            f"target {target.name!r}, query {query.name!r}: expected a plain selector such as "
            f'cpu{{namespace="a"}}: only Prometheus evaluates PromQL; received {query.expr[:120]!r}'
        )
    check_patterns(f"target {target.name!r}, query {query.name!r}", found)
    return found


def check_patterns(where: str, wanted: Selector) -> None:
    """Raises SourceRejectedError, with ``where`` in front, for a bad regular expression in ``wanted``."""
    for matcher in wanted.matchers:
        if "~" in matcher.operator:
            try:
                re.compile(matcher.value)
            except re.error as error:
                raise SourceRejectedError(
                    f"{where}: {matcher.label} {matcher.operator} {matcher.value!r} is no regular expression: {error}"
                ) from error


def assemble(target: Target, times: I64, series: Iterable[RawSeries]) -> Block:
    """``series`` at the grid instants ``times`` [T], selected and aggregated as ``target`` says, as a block."""
    selectors = [plain(target, query) for query in target.queries]
    groups: dict[tuple[EntityKey, int], list[F64]] = {}
    for one in series:
        for feature, wanted in enumerate(selectors):
            if wanted.matches(one.metric, one.labels):
                groups.setdefault((entity_of(target, one.labels), feature), []).append(one.values)
    entities = tuple(sorted({entity for entity, _ in groups}))
    where = {entity: n for n, entity in enumerate(entities)}
    values = np.full((len(times), len(entities), len(selectors)), np.nan, np.float32)
    for (entity, feature), columns in groups.items():
        values[:, where[entity], feature] = _aggregate(target.aggregation, columns)
    start = int(times[0]) if len(times) else 0
    return Block(start, target.step, entities, target.features, values)


def entity_of(target: Target, labels: Mapping[str, str]) -> EntityKey:
    """The entity that a series with ``labels`` belongs to."""
    renamed = {**labels, **{new: labels[old] for old, new in target.rename.items() if old in labels}}
    return EntityKey.of(target.name, {name: renamed.get(name, "") for name in target.labels})


def _aggregate(how: str, columns: Sequence[F64]) -> F32:
    """One column [T] of several; a missing sample does not take part, NaN where all are missing."""
    stack = np.stack(columns)
    present = np.isfinite(stack)
    count = present.sum(axis=0)
    if how == "max":
        result = np.where(present, stack, -np.inf).max(axis=0)
    else:
        result = np.where(present, stack, 0.0).sum(axis=0)
        if how == "mean":
            result = result / np.maximum(count, 1)
    with np.errstate(over="ignore", invalid="ignore"):
        narrow: F32 = np.where(count > 0, result, np.nan).astype(np.float32)
    narrow[~np.isfinite(narrow)] = np.nan
    return narrow
