"""The newest raw samples of one selector, and what can be said of them at an instant."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import compress

import numpy as np

from anomaly_exporter.sources.selection import F64
from anomaly_models.frame import Bool

from .page import Labels


class RawSamples:
    """Samples of the last ``seconds`` data seconds: ``values`` float64 [K, n] of ``series`` [n] at ``times`` [K].

    A series without a sample in that time is forgotten. ``version`` changes whenever the columns do.
    """

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        self.series: tuple[Labels, ...] = ()
        self.version = 0
        self.times: F64 = np.zeros(0)
        self.values: F64 = np.zeros((0, 0))
        self._index: dict[Labels, int] = {}

    def add(self, at: float, found: Mapping[Labels, float]) -> None:
        """Samples of a scrape at data time ``at``, later than all before; a failed scrape has none."""
        newcomers = tuple(labels for labels in found if labels not in self._index)
        if newcomers:
            self.values = np.pad(self.values, ((0, 0), (0, len(newcomers))), constant_values=np.nan)
            self._number((*self.series, *newcomers))
        row = np.full((1, len(self.series)), np.nan)
        for labels, value in found.items():
            row[0, self._index[labels]] = value
        kept = self.times > at - self.seconds
        self.times = np.append(self.times[kept], at)
        self.values = np.concatenate([self.values[kept], row])
        alive: Bool = np.asarray(np.isfinite(self.values).any(axis=0))
        if not alive.all():
            self.values = self.values[:, alive]
            self._number(tuple(compress(self.series, alive.tolist())))

    def newest(self, at: int, step: int) -> F64:
        """The newest sample of every series in ``(at - step, at]``, NaN where there is none: [n]."""
        newest = np.full(len(self.series), np.nan)
        for i in np.flatnonzero((self.times > at - step) & (self.times <= at)):
            newest = np.where(np.isfinite(self.values[i]), self.values[i], newest)
        return newest

    def rate(self, at: int, window: int, step: int) -> F64:
        """Increase per second of every counter over its samples in ``(at - window, at]``: [n].

        A value below the one before is a reset: the counter began anew at 0. Nothing is extrapolated to the ends of
        the window. NaN with fewer than two samples, and where the newest is not from ``(at - step, at]``: a range must
        not paint over a gap.
        """
        n = len(self.series)
        last, first_at, last_at, increase = np.full(n, np.nan), np.full(n, np.nan), np.full(n, np.nan), np.zeros(n)
        for i in np.flatnonzero((self.times > at - window) & (self.times <= at)):
            row, when = self.values[i], self.times[i]
            seen, before = np.isfinite(row), np.isfinite(last)
            more = np.where(row < last, row, row - last)
            increase += np.where(seen & before, more, 0.0)
            first_at = np.where(seen & ~before, when, first_at)
            last, last_at = np.where(seen, row, last), np.where(seen, when, last_at)
        with np.errstate(invalid="ignore", divide="ignore"):
            rate: F64 = np.where((last_at > first_at) & (last_at > at - step), increase / (last_at - first_at), np.nan)
        return rate

    def _number(self, series: tuple[Labels, ...]) -> None:
        self.series = series
        self._index = {labels: i for i, labels in enumerate(series)}
        self.version += 1
