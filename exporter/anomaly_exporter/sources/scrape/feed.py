"""One target of a scraped page: raw samples in, rows on the grid out, each made once and never changed."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from anomaly_exporter.config import ScrapeConnection, Target
from anomaly_exporter.sources.base import SourceAnswerError
from anomaly_exporter.sources.selection import F64, entity_of
from anomaly_models.frame import F32, I64, Block, EntityKey, Span

from .expressions import Expression, expression
from .page import Labels, Samples
from .quantiles import histogram_quantile
from .samples import RawSamples

LOG = logging.getLogger(__name__)
SPARE_ROWS = 64
"""Rows kept after they were saved, for a reader that is late."""
LONGEST = 86_400
"""Data seconds of rows that are kept when they cannot be saved."""

Values = Mapping[EntityKey, float]


@dataclass(frozen=True)
class Row:
    """What was found at the instant ``at``: a mapping per feature."""

    at: int
    features: tuple[Values, ...]


class Feed:
    """The rows of ``target`` after data time ``began``. Not thread-safe."""

    def __init__(self, target: Target, connection: ScrapeConnection, began: float) -> None:
        self.target = target
        self._connection = connection
        self._queries = [_Query(target, expression(target, q, connection.interval), connection) for q in target.queries]
        self.next = int(began // target.step + 1) * target.step
        self.seen: float | None = None
        self._rows: deque[Row] = deque()
        self._saved = self.next

    @property
    def metrics(self) -> set[str]:
        """Names of the metrics that the queries need."""
        return {s.metric for query in self._queries for s in query.expression.selectors}

    def select(self, page: Samples) -> list[list[dict[Labels, float]]]:
        """What a page has for every selector of every query. Raises SourceAnswerError when that is too much."""
        return [query.select(page) for query in self._queries]

    def add(self, at: float, found: list[list[dict[Labels, float]]]) -> None:
        """Take the samples of a scrape at data time ``at``; an empty list for a scrape that failed."""
        for query, samples in zip(self._queries, found, strict=False):
            query.add(at, samples)
        if any(one for samples in found for one in samples):
            self.seen = at

    def settle(self, before: float) -> None:
        """Make the rows of all instants before data time ``before`` that were not made yet."""
        step = self.target.step
        behind = int((before - self.next) // step)
        if behind > LONGEST // step:
            # The machine slept: of all that time there is nothing.
            self.next += (behind - LONGEST // step) * step
        while self.next < before:
            self._rows.append(Row(self.next, tuple(query.at(self.next, step) for query in self._queries)))
            self.next += step
        self._forget()

    def block(self, span: Span) -> Block:
        """The rows in ``span``; NaN at instants that are not known."""
        return self._block([row for row in self._rows if span.start <= row.at < span.end], span)

    def unsaved(self) -> Block | None:
        """The rows that were not saved yet; None when there is none."""
        rows = [row for row in self._rows if row.at >= self._saved]
        if not rows:
            return None
        return self._block(rows, Span(rows[0].at, rows[-1].at + self.target.step))

    def saved(self, until: int) -> None:
        """Everything before ``until`` is in the history."""
        self._saved = max(self._saved, until)
        self._forget()

    def _forget(self) -> None:
        step, rows = self.target.step, self._rows
        while rows and rows[0].at < self._saved and rows[0].at < self.next - SPARE_ROWS * step:
            rows.popleft()
        if rows and rows[0].at < self.next - LONGEST:
            LOG.error("rows that could not be saved for a day are lost", extra={"target": self.target.name})
            while rows and rows[0].at < self.next - LONGEST:
                rows.popleft()

    def _block(self, rows: Iterable[Row], span: Span) -> Block:
        rows = list(rows)
        entities = tuple(sorted({entity for row in rows for values in row.features for entity in values}))
        where = {entity: i for i, entity in enumerate(entities)}
        block = Block.empty(span, self.target.step, entities, self.target.features)
        for row in rows:
            i = (row.at - block.start) // block.step
            for f, values in enumerate(row.features):
                columns = [where[entity] for entity in values]
                block.values[i, columns, f] = _narrow(np.fromiter(values.values(), np.float64, len(values)))
        return block


class _Query:
    """One query: raw samples per selector, and their entities."""

    def __init__(self, target: Target, asked: Expression, connection: ScrapeConnection) -> None:
        self.expression = asked
        self._target = target
        self._connection = connection
        self._samples = [RawSamples(max(asked.window, target.step) + target.step) for _ in asked.selectors]
        self._groups: dict[int, tuple[int, _Groups]] = {}

    def select(self, page: Samples) -> list[dict[Labels, float]]:
        found = []
        for wanted in self.expression.selectors:
            series = page.get(wanted.metric, {})
            chosen = {
                labelled: value
                for labels, value in series.items()
                if wanted.matches(wanted.metric, dict(labelled := self._labelled(labels)))
            }
            if len(chosen) > self._connection.max_series:
                raise SourceAnswerError(
                    f"target {self._target.name!r}: the page has {len(chosen)} series of {wanted.metric}, more than "
                    f"max_series = {self._connection.max_series}: nothing of it is used"
                )
            found.append(chosen)
        return found

    def add(self, at: float, found: list[dict[Labels, float]]) -> None:
        for samples, series in zip(self._samples, found, strict=True):
            samples.add(at, series)

    def at(self, instant: int, step: int) -> Values:
        """Values of the entities at ``instant``; those without one are left out."""
        asked = self.expression
        if asked.kind == "gauge":
            return self._aggregated(0, self._samples[0].newest(instant, step), self._target.aggregation)
        rates = [samples.rate(instant, asked.window, step) for samples in self._samples]
        if asked.kind == "quantile":
            return self._quantiles(rates[0])
        if asked.kind == "ratio":
            # Sums of both before they are divided: a mean of ratios would count a quiet series as much as a busy one.
            above, below = self._aggregated(0, rates[0], "sum"), self._aggregated(1, rates[1], "sum")
            return {entity: above[entity] / rate for entity, rate in below.items() if entity in above and rate > 0}
        values = rates[0] if asked.kind == "rate" else rates[0] * asked.window
        return self._aggregated(0, values, self._target.aggregation)

    def _aggregated(self, number: int, values: F64, how: str) -> Values:
        return self._grouped(number).aggregate(values, how)

    def _quantiles(self, rates: F64) -> Values:
        """The quantile of every entity, over the sum of its histograms."""
        groups = self._grouped(0)
        buckets: list[dict[float, float]] = [{} for _ in groups.entities]
        for code, bound, rate in zip(groups.codes.tolist(), groups.bounds, rates.tolist(), strict=True):
            if np.isfinite(rate) and bound is not None:
                buckets[code][bound] = buckets[code].get(bound, 0.0) + rate
        found = {e: histogram_quantile(self.expression.q, b) for e, b in zip(groups.entities, buckets, strict=True)}
        return {entity: value for entity, value in found.items() if np.isfinite(value)}

    def _grouped(self, number: int) -> _Groups:
        """Entities of the series of selector ``number``; found anew when these change."""
        samples = self._samples[number]
        kept = self._groups.get(number)
        if kept is None or kept[0] != samples.version:
            kept = self._groups[number] = samples.version, _Groups.of(self._target, samples.series)
        return kept[1]

    def _labelled(self, labels: Labels) -> Labels:
        """``labels`` of the page under the configured ones, which win."""
        ours = self._connection.labels
        if not ours:
            return labels
        theirs = {f"exported_{name}" if name in ours else name: value for name, value in labels}
        return tuple(sorted({**theirs, **ours}.items()))


@dataclass(frozen=True)
class _Groups:
    """``codes`` [n]: place in ``entities`` of every series; ``bounds`` [n]: upper bound of a bucket, None for none."""

    entities: tuple[EntityKey, ...]
    codes: I64
    bounds: tuple[float | None, ...]

    @classmethod
    def of(cls, target: Target, series: tuple[Labels, ...]) -> _Groups:
        places: dict[EntityKey, int] = {}
        codes = [places.setdefault(entity_of(target, dict(labels)), len(places)) for labels in series]
        bounds = tuple(_bound(dict(labels).get("le")) for labels in series)
        return cls(tuple(places), np.array(codes, np.int64), bounds)

    def aggregate(self, values: F64, how: str) -> Values:
        """Mean, sum or max of every entity's values that are there."""
        there = np.isfinite(values)
        codes, some, size = self.codes[there], values[there], len(self.entities)
        count = np.bincount(codes, minlength=size)
        if how == "max":
            result = np.full(size, -np.inf)
            np.maximum.at(result, codes, some)
        else:
            result = np.bincount(codes, weights=some, minlength=size)
            if how == "mean":
                result = result / np.maximum(count, 1)
        return {self.entities[i]: float(result[i]) for i in np.flatnonzero(count)}


def _bound(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _narrow(values: F64) -> F32:
    """``values`` as float32, NaN for what does not fit."""
    with np.errstate(over="ignore"):
        narrow: F32 = values.astype(np.float32)
    narrow[~np.isfinite(narrow)] = np.nan
    return narrow
