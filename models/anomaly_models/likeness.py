"""How unlike the short windows of the last weeks the newest one is, all features at once.

Three members: the distance to the nearest of a few reference windows drawn at random (they estimate where windows
usually lie; a handful is as good as thousands, because the calibration after it takes care of the scale), the same of
the residuals, and what the principal components of the windows leave unexplained. Windows are samples in units of the
last weeks, bounded, 0 where missing.

Axes: S entities, F features, T samples (time last), N windows, D = window x features numbers, K references.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from .ensemble_spec import ShapeSpec
from .frame import F32, Bool
from .time_of_day import DAY, mean, quantiles

NAN = np.float32(np.nan)
CHUNK_FLOATS = 1 << 19
FEWEST_WINDOWS = 32
"""Fewest windows to draw references from."""


@dataclass(frozen=True)
class Likeness:
    """What was learned of S entities: ``center`` and ``spread`` [S, F] of the samples; ``references`` and
    ``residual_references`` [S, K, D]; ``mean`` [S, D] and ``unexplained`` [S, D, D], the projector on what the
    components leave; ``known`` [S, 1]: 1 where there was enough to learn from, elsewhere the members are silent."""

    center: F32
    spread: F32
    references: F32
    residual_references: F32
    mean: F32
    unexplained: F32
    known: F32

    def heights(self, x: F32, residual: F32, spec: ShapeSpec, at: npt.NDArray[np.intp] | None = None) -> F32:
        """Unlikeness [S, 3, N] of the windows under ``x`` and ``residual`` [S, F, T], N = T - length + 1.

        ``x`` in own units, ``residual`` in units; NaN where missing. A window without any newest sample has none.
        ``at`` [S, K]: windows that the references were; references within a window's length of it do not count for it.
        """
        length = spec.length(x.shape[1])
        if spec.size(x.shape[1]) == 0:
            return np.full((x.shape[0], 3, max(x.shape[2] - length + 1, 0)), np.nan, np.float32)
        z = scaled(x, self.center, self.spread, spec)
        windows, others = cut(z, length), cut(np.nan_to_num(residual), length)
        out = np.empty((x.shape[0], 3, windows.shape[1]), np.float32)
        out[:, 0] = nearest(windows, self.references, length, at)
        out[:, 1] = nearest(others, self.residual_references, length, at)
        left = np.matmul(windows - self.mean[:, None], self.unexplained)
        out[:, 2] = np.sqrt(np.einsum("snd,snd->sn", left, left) / left.shape[2])
        there = ~np.isnan(residual[:, :, length - 1 :]).all(axis=1) & (self.known > 0)
        return np.where(there[:, None], out, NAN)


def learned_at(start: int, rows: int, step: int, first: int, spec: ShapeSpec) -> int:
    """The row up to which a context at ``rows`` learns: the last midnight (UTC), or ``rows`` for a young history.

    ``first``: row of the first sample.
    """
    midnight = -(-((start + rows * step) // DAY * DAY - start) // step)
    return midnight if (midnight - first) * step >= spec.young else rows


def learn(x: F32, residual: F32, spec: ShapeSpec) -> tuple[Likeness, npt.NDArray[np.intp]]:
    """What ``x`` (NaN where missing) and ``residual`` [S, F, T] of the last weeks teach; and which windows [S, K] the
    references are."""
    S, F, _ = x.shape
    length, D = spec.length(F), spec.size(F)
    K = spec.references if D else 1
    (center,) = quantiles(x, (0.5,))
    deviation = np.sqrt(mean((x - mean(x)[..., None]).astype(np.float32) ** 2))
    center, deviation = np.nan_to_num(center), np.nan_to_num(deviation)
    constant = deviation <= 1e-6 * np.abs(center)
    spread = np.where(constant, np.where(center != 0, 0.05 * np.abs(center), 1), deviation).astype(np.float32)
    windows = cut(scaled(x, center, spread, spec), length)
    others = cut(np.nan_to_num(residual), length)
    there = _whole(np.asarray(~np.isnan(residual).all(axis=1)), length)
    references, residual_references = (np.zeros((S, K, max(D, 1)), np.float32) for _ in range(2))
    average, unexplained = np.zeros((S, max(D, 1)), np.float32), np.zeros((S, max(D, 1), max(D, 1)), np.float32)
    known = np.zeros((S, 1), np.float32)
    places = np.zeros((S, K), np.intp)
    if D == 0:
        return Likeness(center, spread, references, residual_references, average, unexplained, known), places
    for s in range(S):
        whole = np.flatnonzero(there[s])
        if whole.size < FEWEST_WINDOWS or spec.widest < D:
            continue
        drawn = np.random.default_rng((spec.seed, whole.size)).choice(whole, K, replace=whole.size < K)
        places[s] = np.sort(drawn)
        references[s], residual_references[s] = windows[s, places[s]], others[s, places[s]]
        average[s], unexplained[s] = _components(windows[s, whole[:: -(-whole.size // spec.learned)]], spec.explained)
        known[s] = 1
    return Likeness(center, spread, references, residual_references, average, unexplained, known), places


def scaled(x: F32, center: F32, spread: F32, spec: ShapeSpec) -> F32:
    """``x`` [S, F, T] in units of ``spread`` around ``center`` [S, F], bounded, 0 where missing."""
    bound = np.float32(spec.bound)
    return np.asarray(np.clip(np.nan_to_num((x - center[..., None]) / spread[..., None]), -bound, bound), np.float32)


def cut(x: F32, length: int) -> F32:
    """Windows [S, N, D] of ``length`` samples of ``x`` [S, F, T]."""
    S, F, T = x.shape
    if length > T:
        return np.empty((S, 0, length * F), np.float32)
    return sliding_window_view(x, length, axis=2).transpose(0, 2, 3, 1).reshape(S, T - length + 1, length * F)


def nearest(windows: F32, references: F32, length: int, at: npt.NDArray[np.intp] | None) -> F32:
    """RMS distance [S, N] of ``windows`` [S, N, D] to the nearest of ``references`` [S, K, D]; see ``heights``."""
    S, N, D = windows.shape
    out = np.empty((S, N), np.float32)
    size = max(CHUNK_FLOATS // max(S * references.shape[1], 1), 1)
    square = np.einsum("skd,skd->sk", references, references)
    for first in range(0, N, size):
        part = windows[:, first : first + size]
        distance = np.matmul(part, references.transpose(0, 2, 1))
        distance *= -2
        distance += np.einsum("snd,snd->sn", part, part)[:, :, None]
        distance += square[:, None]
        if at is not None:
            place = np.arange(first, first + part.shape[1])
            distance[np.abs(place[None, :, None] - at[:, None]) <= length] = np.inf
        out[:, first : first + size] = distance.min(axis=2)
    # All references may be too near in a very short history: then nothing is known of such a window.
    return np.where(np.isinf(out), NAN, np.sqrt(np.maximum(out, 0) / D))


def _whole(there: Bool, length: int) -> Bool:
    """Which windows [S, N] of ``length`` samples have only samples that are ``there`` [S, T]."""
    if length > there.shape[1]:
        return np.zeros((there.shape[0], 0), np.bool_)
    return np.asarray(sliding_window_view(there, length, axis=1).all(axis=2))


def _components(windows: F32, explained: float) -> tuple[F32, F32]:
    """Mean [D] of ``windows`` [n, D] and the projector [D, D] on all but the components that explain so much of them.

    At least one direction is left over, at least one is taken away.
    """
    average = windows.mean(axis=0, dtype=np.float64)
    centred = windows - average
    variance, directions = np.linalg.eigh(centred.T @ centred / len(windows))
    share = np.cumsum(variance[::-1].clip(0)) / max(variance.clip(0).sum(), 1e-30)
    kept = min(int(np.searchsorted(share, explained)) + 1, len(variance) - 1)
    rest = directions[:, : len(variance) - kept]
    return average.astype(np.float32), (rest @ rest.T).astype(np.float32)
