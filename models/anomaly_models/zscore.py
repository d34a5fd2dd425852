"""The simplest member: distance from the level of the training data. What an autoencoder must beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from . import scaling, windows
from .exceptions import InvalidShapeError
from .frame import F32, Inference, Scorer, Windows
from .model_spec import ModelSpec, read_counts
from .scaling import Scaler

FIELDS = ("window", "features", "tail")


@dataclass(frozen=True)
class ZScore:
    """A stack of S levels, a ``Scorer``: the expected value is the centre of the training data, whatever the time.

    With the scaler ``standard`` the error is the classic |z| = |x - mean| / standard deviation; with ``robust`` it is
    taken from median and interquartile range. ``window`` only says how much finite data a judgement needs.
    """

    window: int
    tail: int
    scaler: Scaler

    @property
    def kind(self) -> str:
        return "zscore"

    @property
    def scale(self) -> F32:
        """Unit of the error per feature, [S, F]."""
        return self.scaler.scale

    def infer(self, w: Windows) -> Inference:
        """Errors and expectations of windows [S, B, W, F].

        Raises:
            InvalidShapeError: S or F of the windows are not those of the models.
        """
        S, B, _, F = w.x.shape
        if self.scale.shape != (S, F):
            raise InvalidShapeError(f"these models score [S, F] = {self.scale.shape}, received windows {w.x.shape}")
        expected = np.broadcast_to(self.scaler.center[:, None, None, :], (S, B, self.tail, F))
        error, feature_error = windows.tail_errors(w, expected, self.scale)
        newest = np.where(np.isfinite(feature_error), expected[:, :, -1], np.float32(np.nan))
        return Inference(error, feature_error, newest)

    def take(self, rows: Sequence[int]) -> ZScore:
        """The models at ``rows``, in that order."""
        return ZScore(self.window, self.tail, self.scaler.take(rows))

    def spec(self) -> dict[str, Any]:
        """Everything but the tensors, as JSON."""
        return {"window": self.window, "features": self.scale.shape[1], "tail": self.tail}

    def tensors(self) -> dict[str, F32]:
        """``center`` and ``scale``, [S, F]."""
        return {"center": self.scaler.center, "scale": self.scaler.scale}

    @classmethod
    def restore(cls, spec: Mapping[str, Any], tensors: Mapping[str, F32]) -> ZScore:
        """The stack that ``spec`` and ``tensors`` describe.

        Raises:
            PackRejectedError: a field or a tensor is missing, unknown or out of bounds.
        """
        window, features, tail = read_counts(spec, FIELDS)
        return cls(window, tail, Scaler.restore(tensors, features))


@dataclass(frozen=True)
class ZScoreLearner:
    """Fits ``ZScore``: nothing but the scaler."""

    model: ModelSpec

    def fit(
        self, train: Windows, val: Windows, y: npt.NDArray[np.int8] | None, warm: Scorer | None, seed: int
    ) -> ZScore:
        """Fit on the samples under ``train``; ``val``, ``y``, ``warm`` and ``seed`` play no part."""
        values, _ = windows.samples(train)
        m = self.model
        return ZScore(m.window, m.tail, scaling.fit(values, m.scaler, m.minimum_scale, m.minimum_relative_scale))
