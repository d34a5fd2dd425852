"""From heights to one opinion: calibrate members, combine them, discount drift and habit, calibrate again.

The same functions look at a whole history, where the lines are drawn, and at the newest sample, where they are read.
Axes: S entities, M members, F features, T samples, time last. NaN is what does not exist; a member that has nothing to
say is left out of the mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import calibration
from .calibration import Line, LineSpec
from .deviations import KINDS, running_mean
from .ensemble_spec import EnsembleSpec
from .frame import F32

NAN = np.float32(np.nan)
SMOOTHED = 2
"""The first members, the differences, are smoothed."""


@dataclass(frozen=True)
class Lines:
    """What was calibrated: ``features`` [S, 6, F] per height of a feature, ``members`` [S, 10], ``final`` [S]."""

    features: Line
    members: Line
    final: Line


def draw(heights: F32, size: int, step: int, spec: LineSpec) -> Line:
    """Lines through the maxima of blocks of ``size`` samples of ``heights`` [..., T]."""
    return calibration.fit(calibration.block_maxima(heights, size), float(size * step), spec)


def entity_heights(rarity: F32, spec: EnsembleSpec) -> F32:
    """How high the features of an entity stand together: RMS [S, ..., T] of decades of ``rarity`` [S, ..., F, T]."""
    with np.errstate(invalid="ignore"):
        above = np.maximum(rarity + np.float32(spec.feature_offset), 0)
    return _root_mean(above, -2, 2.0)


def smooth(heights: F32, samples: int) -> F32:
    """Root of the mean energy of the last ``samples`` of ``heights`` [..., T]; NaN where the newest is missing."""
    with np.errstate(invalid="ignore"):
        energy = running_mean(heights * heights, heights.shape[-1], samples)
        return np.where(np.isnan(heights), NAN, np.sqrt(energy)).astype(np.float32)


def combine(rarity: F32, spec: EnsembleSpec) -> F32:
    """Power mean [S, T] of the groups of the members of ``rarity`` [S, M, T], each the power mean of its members.

    NaN where fewer members speak than the quorum (or than there are, where groups leave some out).
    """
    offset = np.float32(spec.offset)
    with np.errstate(invalid="ignore"):
        above = np.maximum(rarity + offset, 0)
    groups = [_root_mean(above[:, group], 1, spec.group_power) for group in spec.groups]
    members = [m for group in spec.groups for m in group]
    silent = np.sum(~np.isnan(rarity[:, members]), axis=1) < min(spec.quorum, len(members))
    return np.where(silent, NAN, _root_mean(np.stack(groups, axis=1), 1, spec.power) - offset)


def final_heights(combined: F32) -> F32:
    """What the last line is drawn through: combined decades as a height."""
    return np.asarray(np.power(np.float32(10), combined / np.float32(3)), np.float32)


def member_heights(heights: F32, whole: F32, features: Line, spec: EnsembleSpec) -> tuple[F32, F32 | None]:
    """Heights [S, M, T] of all members, of those of features [S, 6, F, T] and of those of entities [S, 4, T].

    One feature speaks for itself. Several are calibrated by their lines and go together; their rarities [S, 6, F, T]
    are the second value.
    """
    S, _, F, T = heights.shape
    out = np.empty((S, KINDS + whole.shape[1], T), np.float32)
    rarity = None
    if F == 1:
        out[:, :KINDS] = heights[:, :, 0]
    else:
        rarity = features.decades(heights, spec.member)
        out[:, :KINDS] = entity_heights(rarity, spec)
    out[:, :SMOOTHED] = smooth(out[:, :SMOOTHED], spec.smoothing)
    out[:, KINDS:] = whole
    return out, rarity


def feature_rarity(rarity: F32, spec: EnsembleSpec) -> F32:
    """What the members that look at single features say of each: [S, F, T] of ``rarity`` [S, 6, F, T]."""
    with np.errstate(invalid="ignore"):
        above = np.maximum(rarity + np.float32(spec.offset), 0)
    return _root_mean(above, 1, spec.power) - np.float32(spec.offset)


def _root_mean(x: F32, axis: int, power: float) -> F32:
    """Power mean of ``x`` >= 0 along ``axis``, NaN ignored; NaN where all are."""
    seen = ~np.isnan(x)
    count = seen.sum(axis=axis, dtype=np.float32)
    filled = np.where(seen, x, np.float32(0))
    raised = filled * filled if power == 2.0 else filled * filled * filled if power == 3.0 else filled**power
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = raised.sum(axis=axis, dtype=np.float32) / count
    return np.asarray(np.power(mean, np.float32(1 / power)), np.float32)
