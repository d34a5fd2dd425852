"""A linear autoencoder solved in closed form: windows projected on their principal components and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from . import scaling, windows
from .exceptions import InvalidShapeError, PackRejectedError
from .frame import F32, Inference, Scorer, Windows
from .model_spec import ModelSpec, read_counts
from .scaling import Scaler

EXPLAINED = 0.9
"""Share of the variance that the kept components explain."""
LARGEST = 2048
"""Largest window * features: the eigenvectors of a matrix of this side take seconds."""
INPUT_BOUND = np.float32(20)
"""Scaled inputs are clipped to +- this: one wild sample must not drag the reconstruction of its neighbours."""
CHUNK_FLOATS = 1 << 22
"""Numbers of the windows scaled and projected at once (16 MiB)."""
FIELDS = ("window", "features", "tail", "components")


@dataclass(frozen=True)
class Pca:
    """A stack of S subspaces of windows flattened to D = window * features numbers, a ``Scorer``.

    ``mean`` [S, D] and ``components`` [S, K, D] (orthonormal rows, unused ones zero) in scaler units.
    """

    window: int
    tail: int
    scaler: Scaler
    mean: F32
    components: F32

    @property
    def kind(self) -> str:
        return "pca"

    @property
    def scale(self) -> F32:
        """Unit of the error per feature, [S, F]."""
        return self.scaler.scale

    def infer(self, w: Windows) -> Inference:
        """Errors and expectations of windows [S, B, W, F].

        Raises:
            InvalidShapeError: S, W or F of the windows are not those of the models.
        """
        S, B, W, F = w.x.shape
        if (*self.scale.shape, self.window) != (S, F, W):
            raise InvalidShapeError(
                f"these models score windows [{self.scale.shape[0]}, B, {self.window}, {self.scale.shape[1]}], "
                f"received {w.x.shape}"
            )
        error = np.full((S, B), np.nan, np.float32)
        feature_error = np.full((S, B, F), np.nan, np.float32)
        expected = np.full((S, B, F), np.nan, np.float32)
        step = max(CHUNK_FLOATS // max(S * W * F, 1), 1)
        for b in range(0, B, step):
            at = slice(b, b + step)
            part = Windows(w.x[:, at], w.valid[:, at], w.end[:, at])
            tail = self._reconstructed_tail(part)
            error[:, at], feature_error[:, at] = windows.tail_errors(part, tail, self.scale)
            expected[:, at] = np.where(np.isfinite(feature_error[:, at]), tail[:, :, -1], np.float32(np.nan))
        return Inference(error, feature_error, expected)

    def _reconstructed_tail(self, w: Windows) -> F32:
        """The last ``tail`` samples as the subspace has them, [S, B, tail, F] in own units."""
        S, B, W, F = w.x.shape
        flat = _inputs(w, self.scaler).reshape(S, B, W * F) - self.mean[:, None]
        last = slice((W - self.tail) * F, None)
        code = flat @ self.components.transpose(0, 2, 1)
        units: F32 = np.asarray(code @ self.components[:, :, last] + self.mean[:, None, last], np.float32)
        return self.scaler.back(units.reshape(S, B, self.tail, F))

    def take(self, rows: Sequence[int]) -> Pca:
        """The models at ``rows``, in that order."""
        at = np.asarray(rows, np.intp)
        return Pca(self.window, self.tail, self.scaler.take(rows), self.mean[at], self.components[at])

    def spec(self) -> dict[str, Any]:
        """Everything but the tensors, as JSON."""
        counts = (self.window, self.scale.shape[1], self.tail, self.components.shape[1])
        return dict(zip(FIELDS, counts, strict=True))

    def tensors(self) -> dict[str, F32]:
        """``center``, ``scale`` [S, F], ``mean`` [S, D], ``components`` [S, K, D]."""
        return {
            "center": self.scaler.center,
            "scale": self.scaler.scale,
            "mean": self.mean,
            "components": self.components,
        }

    @classmethod
    def restore(cls, spec: Mapping[str, Any], tensors: Mapping[str, F32]) -> Pca:
        """The stack that ``spec`` and ``tensors`` describe.

        Raises:
            PackRejectedError: a field or a tensor is missing, unknown or out of bounds.
        """
        window, features, tail, components = read_counts(spec, FIELDS)
        scaler = Scaler.restore(tensors, features)
        S, D = scaler.center.shape[0], window * features
        for name, shape in (("mean", (S, D)), ("components", (S, components, D))):
            tensor = tensors.get(name)
            if tensor is None or tensor.shape != shape or not np.isfinite(tensor).all():
                received = None if tensor is None else tensor.shape
                raise PackRejectedError(f"tensor {name} must be finite {shape}, received {received}")
        return cls(window, tail, scaler, tensors["mean"], tensors["components"])


def _inputs(w: Windows, scaler: Scaler) -> F32:
    """Windows in scaler units, clipped; features with a missing sample as their centre. [S, B, W, F]"""
    whole = np.isfinite(w.x).all(axis=2, keepdims=True)
    units = np.clip(scaler.to_units(w.x), -INPUT_BOUND, INPUT_BOUND)
    return np.where(whole, units, np.float32(0)).astype(np.float32)


@dataclass(frozen=True)
class PcaLearner:
    """Fits ``Pca`` series by series on at most ``max_windows`` usable windows, thinned evenly.

    ``scaler`` [S, F] instead of one fitted on the training windows.
    """

    model: ModelSpec
    scaler: Scaler | None = None

    def fit(self, train: Windows, val: Windows, y: npt.NDArray[np.int8] | None, warm: Scorer | None, seed: int) -> Pca:
        """Fit on ``train``; ``val``, ``y``, ``warm`` and ``seed`` play no part.

        Kept are the fewest components that explain 90 % of the variance, at most a third of the window's numbers: as
        many as they are, a window must not pass unchanged. A series without a usable window gets no component.

        Raises:
            InvalidShapeError: a window has more than 2,048 numbers.
        """
        S, _, W, F = train.x.shape
        if W * F > LARGEST:
            raise InvalidShapeError(f"pca takes windows of at most {LARGEST} numbers, received {W} samples x {F}")
        m = self.model
        values, _ = windows.samples(train)
        scaler = self.scaler or scaling.fit(values, m.scaler, m.minimum_scale, m.minimum_relative_scale)
        usable = windows.usable(train, m.min_features, m.tail)
        fits = [self._fit_one(train, scaler, s, np.flatnonzero(usable[s])) for s in range(S)]
        components = np.zeros((S, max((len(c) for _, c in fits), default=1), W * F), np.float32)
        mean = np.zeros((S, W * F), np.float32)
        for s, (center, rows) in enumerate(fits):
            mean[s], components[s, : len(rows)] = center, rows
        return Pca(m.window, m.tail, scaler, mean, components)

    def _fit_one(self, train: Windows, scaler: Scaler, s: int, rows: npt.NDArray[np.intp]) -> tuple[F32, F32]:
        """Mean [D] and components [K, D] of series ``s`` on the windows ``rows``."""
        D = train.x.shape[2] * train.x.shape[3]
        if rows.size == 0:
            return np.zeros(D, np.float32), np.zeros((1, D), np.float32)
        if rows.size > self.model.max_windows:
            rows = rows[np.linspace(0, rows.size - 1, self.model.max_windows).round().astype(np.intp)]
        chosen = Windows(train.x[s : s + 1, rows], train.valid[s : s + 1, rows], train.end[s : s + 1, rows])
        flat = _inputs(chosen, scaler.take([s])).reshape(rows.size, D).astype(np.float64)
        mean = flat.mean(axis=0)
        flat -= mean
        variance, vectors = np.linalg.eigh(flat.T @ flat)
        variance, vectors = np.maximum(variance[::-1], 0), vectors[:, ::-1].T
        share = np.cumsum(variance) / max(float(variance.sum()), np.finfo(np.float64).tiny)
        kept = min(int(np.searchsorted(share, EXPLAINED)) + 1, max(D // 3, 1))
        return mean.astype(np.float32), vectors[:kept].astype(np.float32)
