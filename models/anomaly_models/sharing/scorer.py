"""One set of weights that scores many series, each brought to the model's units by its own scaler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anomaly_models import scorers
from anomaly_models.exceptions import InvalidShapeError
from anomaly_models.frame import F32, Inference, Scorer, Windows
from anomaly_models.scaling import UNSEEN, Scaler

SHAREABLE = frozenset({"autoencoder", "pca", "zscore"})
"""Kinds that know a series only by its scale; a time-of-day table, say, cannot serve a series it never saw."""


def identity(features: int, series: int = 1) -> Scaler:
    """The scaler of a model that reads scaler units: centre 0, scale 1, [series, features]."""
    shape = (series, features)
    return Scaler(np.zeros(shape, np.float32), np.ones(shape, np.float32))


@dataclass(frozen=True)
class Shared:
    """The one row of ``base``, which reads scaler units, for the S series of ``scaler``: a ``Scorer``.

    Says of a series what a model of its own with the same weights and this scaler says (:func:`for_series`), without
    a copy of the weights per series: all windows of all series are one batch.

    Raises:
        InvalidShapeError: ``base`` has more than one row, is of a kind that cannot be shared, or of other features.
    """

    base: Scorer
    scaler: Scaler

    def __post_init__(self) -> None:
        rows, features = self.base.scale.shape
        if rows != 1 or self.base.kind not in SHAREABLE or self.scaler.center.shape[1] != features:
            raise InvalidShapeError(
                f"a shared model is one row of {', '.join(sorted(SHAREABLE))} with the features of its scaler, "
                f"received {rows} rows of {self.base.kind} x {features} and a scaler {self.scaler.center.shape}"
            )

    @property
    def kind(self) -> str:
        return self.base.kind

    @property
    def window(self) -> int:
        return self.base.window

    @property
    def scale(self) -> F32:
        """Unit of the error per series and feature, [S, F]."""
        return self.scaler.scale

    def infer(self, w: Windows) -> Inference:
        """Errors (scaler units) and expectations (own units) of windows [S, B, W, F].

        Raises:
            InvalidShapeError: S or F of the windows are not those of the scaler.
        """
        S, B, W, F = w.x.shape
        if self.scale.shape != (S, F):
            raise InvalidShapeError(f"these models score [S, F] = {self.scale.shape}, received windows {w.x.shape}")
        units = self.scaler.to_units(w.x)
        # A feature without a scale does not count; in the base's own scaler it would look like any other.
        units[np.broadcast_to((self.scale >= UNSEEN)[:, None, None, :], units.shape)] = np.nan
        one = Windows(units.reshape(1, S * B, W, F), w.valid.reshape(1, S * B, W, F), w.end.reshape(1, S * B))
        said = self.base.infer(one)
        expected = None
        if said.expected is not None:
            expected = self.scaler.back(said.expected.reshape(S, B, 1, F))[:, :, 0]
        return Inference(said.error.reshape(S, B), said.feature_error.reshape(S, B, F), expected)

    def take(self, rows: Sequence[int]) -> Shared:
        """The series at ``rows``, in that order; the weights stay one."""
        return Shared(self.base, self.scaler.take(rows))

    def spec(self) -> dict[str, Any]:
        """That of a stack of models of their own with these weights."""
        return self.base.spec()

    def tensors(self) -> dict[str, F32]:
        """Those of a stack of models of their own with these weights, S rows each."""
        return for_series(self.base, self.scaler).tensors()


def for_series(base: Scorer, scaler: Scaler) -> Scorer:
    """``base`` as models of their own: its one row of weights for every series of ``scaler`` [S, F].

    Raises:
        InvalidShapeError, PackRejectedError: as :class:`Shared`, or the scaler is not finite and positive.
    """
    Shared(base, scaler)
    series = scaler.center.shape[0]
    tensors = {name: np.repeat(tensor, series, axis=0) for name, tensor in base.tensors().items()}
    return scorers.restore(base.kind, base.spec(), {**tensors, "center": scaler.center, "scale": scaler.scale})
