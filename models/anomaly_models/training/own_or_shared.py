"""A series' own model or the shared one: whichever explains the validation part better."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from anomaly_models import scaling, scorers, sharing, windows
from anomaly_models.frame import Bool, Learner, Scorer, Windows
from anomaly_models.model_spec import ModelSpec

Scope = Literal["own", "shared", "both"]
"""``own``: every series its own weights; ``shared``: all the same; ``both``: its own once they are better."""


def can_share(recipe: str) -> bool:
    """Whether models of a recipe can serve series they never saw: autoencoders, pca and zscore."""
    return recipe not in scorers.SIMPLE or recipe in sharing.SHAREABLE


class OwnOrShared:
    """A ``Learner`` that starts every series from the shared model and keeps what is better on ``val``, row by row.

    ``own`` fits a series' own model; None gives every series the shared weights with its own scale. ``scopes`` says
    per row of the last fit what was kept. A tie is the shared model's: what own data did not improve was not learned.
    """

    def __init__(self, own: Learner | None, shared: Scorer, model: ModelSpec) -> None:
        self.own, self.shared, self.model = own, shared, model
        self.scopes: tuple[str, ...] = ()
        self.report: Any = None

    def fit(
        self, train: Windows, val: Windows, y: npt.NDArray[np.int8] | None, warm: Scorer | None, seed: int
    ) -> Scorer:
        """As every learner; raises what ``own`` raises."""
        m = self.model
        scaler = scaling.fit(windows.samples(train)[0], m.scaler, m.minimum_scale, m.minimum_relative_scale)
        candidate = sharing.for_series(self.shared, scaler)
        series = scaler.center.shape[0]
        if self.own is None:
            self.scopes = ("shared",) * series
            return candidate
        fitted = self.own.fit(train, val, y, self._start(candidate, warm, val), seed)
        self.report = getattr(self.own, "report", None)
        if (fitted.kind, fitted.spec()) != (candidate.kind, candidate.spec()):
            self.scopes = ("own",) * series
            return fitted
        keep = ~(self._mean_error(fitted, val) < self._mean_error(candidate, val))
        self.scopes = tuple("shared" if k else "own" for k in keep.tolist())
        if self.report is not None:
            rows = zip(self.report.rows, keep.tolist(), strict=True)
            self.report = replace(self.report, rows=tuple(replace(r, trained=r.trained or k) for r, k in rows))
        return _merged(fitted, candidate, keep)

    def _start(self, candidate: Scorer, warm: Scorer | None, val: Windows) -> Scorer:
        """Where every row starts: from its own model in force or the shared one, whichever explains ``val`` better."""
        if warm is None or (warm.kind, warm.spec()) != (candidate.kind, candidate.spec()):
            return candidate
        known = self._mean_error(warm, val)
        return _merged(warm, candidate, ~(known <= self._mean_error(candidate, val)))

    def _mean_error(self, scorer: Scorer, val: Windows) -> npt.NDArray[np.float64]:
        """Mean error over the usable windows of every row [S]; NaN where there is none."""
        with np.errstate(all="ignore"):
            error = scorer.infer(val).error.astype(np.float64)
        seen = windows.usable(val, self.model.min_features, self.model.tail) & np.isfinite(error)
        count = seen.sum(axis=1)
        mean = np.where(seen, error, 0.0).sum(axis=1) / np.maximum(count, 1)
        return np.where(count > 0, mean, np.nan)


def _merged(one: Scorer, other: Scorer, take_other: Bool) -> Scorer:
    """The rows of ``other`` where ``take_other`` [S], of ``one`` elsewhere."""
    if not take_other.any():
        return one
    mine, theirs = one.tensors(), other.tensors()
    chosen = {
        name: np.where(take_other.reshape(-1, *(1,) * (tensor.ndim - 1)), theirs[name], tensor)
        for name, tensor in mine.items()
    }
    return scorers.restore(one.kind, one.spec(), chosen)
