"""Quantiles of classic histograms, as `histogram_quantile` of Prometheus computes them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def histogram_quantile(q: float, buckets: Mapping[float, float]) -> float:
    """The ``q`` quantile of a histogram, ``buckets``: upper bound -> cumulative rate; NaN where there is none.

    Linear inside a bucket, the first one beginning at 0 (unless its bound is negative); in the highest bucket the bound
    below it. Needs two buckets, ``+Inf`` among them, and something observed. Source: Prometheus,
    promql/quantile.go ``BucketQuantile``.
    """
    bounds = sorted(bound for bound, rate in buckets.items() if np.isfinite(rate) and not np.isnan(bound))
    if len(bounds) < 2 or bounds[-1] != np.inf:
        return float("nan")
    # Buckets are scraped together but counted one by one: a lower one may be ahead of a higher one.
    counts = np.maximum.accumulate([buckets[bound] for bound in bounds])
    if counts[-1] <= 0:
        return float("nan")
    rank = q * counts[-1]
    i = int(np.searchsorted(counts[:-1], rank, side="left"))
    if i == len(bounds) - 1:
        return float(bounds[-2])
    if i == 0 and bounds[0] <= 0:
        return float(bounds[0])
    below = (0.0, 0.0) if i == 0 else (bounds[i - 1], counts[i - 1])
    (start, before), (end, upto) = below, (bounds[i], counts[i])
    return float(start + (end - start) * ((rank - before) / (upto - before) if upto > before else 0.0))
