"""The calibrated ensemble, recipe ``auto``: an autoencoder and simple members agree on how rare a sample is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any

import numpy as np

from . import deviations, opinion, windows
from .autoencoder import Autoencoder
from .context import SILENT, Context, base_periods, lead_slots
from .deviations import KINDS, UNITS
from .ensemble_spec import ENTITY_MEMBERS, MEMBERS, EnsembleSpec
from .exceptions import InvalidShapeError, PackRejectedError
from .frame import F32, I64, Bool, Inference, Opinion, Windows
from .lessons import Lessons
from .stored_spec import from_json, to_json
from .time_of_day import DAY, Slots
from .usual import TABLES, at, look

NAN = np.float32(np.nan)
PREFIX = "autoencoder."


@dataclass(frozen=True)
class Ensemble:
    """A stack of S ensembles: a ``Scorer``. Error, expectation and scale are the autoencoder's, the opinion is new.

    ``step``: seconds between samples. ``context`` is what was known when the period began; it serves on until a newer
    one comes, and its time-of-day tables repeat after a day.
    """

    autoencoder: Autoencoder
    context: Context
    step: int
    settings: EnsembleSpec

    @property
    def kind(self) -> str:
        return "auto"

    @property
    def window(self) -> int:
        """Samples that the autoencoder or the slowest member needs."""
        return window(self.autoencoder.window, self.step, self.settings)

    @property
    def scale(self) -> F32:
        """Unit of the error per feature, [S, F]."""
        return self.autoencoder.scale

    def infer(self, w: Windows) -> Inference:
        """Errors, expectations and opinions of windows [S, B, W, F].

        Raises:
            InvalidShapeError: S, W or F of the windows are not those of the models.
        """
        S, B, W, F = w.x.shape
        if (*self.scale.shape, self.window) != (S, F, W):
            raise InvalidShapeError(
                f"this ensemble scores windows [{self.scale.shape[0]}, B, {self.window}, {self.scale.shape[1]}], "
                f"received {w.x.shape}"
            )
        own = slice(W - self.autoencoder.window, W)
        said = self.autoencoder.infer(Windows(w.x[:, :, own], w.valid[:, :, own], w.end))
        if B == 0 or S == 0:
            return replace(said, opinion=_silence(S, B, F))
        parts = [
            self._opinion(Windows(w.x[:, a:b], w.valid[:, a:b], w.end[:, a:b]), said.error[:, a:b])
            for a, b in _runs(w.end, self.step)
        ]
        return replace(said, opinion=parts[0] if len(parts) == 1 else _joined(parts, 1))

    def _opinion(self, w: Windows, error: F32) -> Opinion:
        """Opinion of windows that end at consecutive instants; rows of different times are looked at apart."""
        clocks = np.concatenate([w.end[:, :1], self.context.time[:, None]], axis=1)
        if (clocks == clocks[0]).all():
            return _read(w, error, self.context, self.step, self.settings)
        S, B, _, F = w.x.shape
        out = _silence(S, B, F)
        for clock in np.unique(clocks, axis=0):
            rows = np.flatnonzero((clocks == clock).all(axis=1))
            part = Windows(w.x[rows], w.valid[rows], w.end[rows])
            said = _read(part, error[rows], self.context.take(rows), self.step, self.settings)
            out.rarity[rows], out.members[rows], out.feature_rarity[rows] = (
                said.rarity,
                said.members,
                said.feature_rarity,
            )
        return out

    def take(self, rows: Sequence[int]) -> Ensemble:
        """The ensembles at ``rows``, in that order."""
        return replace(self, autoencoder=self.autoencoder.take(rows), context=self.context.take(rows))

    def spec(self) -> dict[str, Any]:
        """Everything but the tensors, as JSON."""
        return {"step": self.step, "settings": to_json(self.settings), "autoencoder": self.autoencoder.spec()}

    def tensors(self) -> dict[str, F32]:
        """The context's by name, the autoencoder's as ``autoencoder.<name>``."""
        own = {PREFIX + name: tensor for name, tensor in self.autoencoder.tensors().items()}
        return {**self.context.tensors(), **own}

    @classmethod
    def restore(cls, spec: Mapping[str, Any], tensors: Mapping[str, F32]) -> Ensemble:
        """The stack that ``spec`` and ``tensors`` describe.

        Raises:
            PackRejectedError: a field or a tensor is missing, unknown, out of bounds or of the wrong shape.
        """
        if set(spec) != {"step", "settings", "autoencoder"} or not isinstance(spec["autoencoder"], dict):
            raise PackRejectedError(f"an ensemble has step, settings and autoencoder, received {tuple(spec)[:9]}")
        step = spec["step"]
        if type(step) is not int or not 1 <= step <= DAY:
            raise PackRejectedError(f"step must be an integer from 1 to {DAY}, received {step!r:.80}")
        settings = from_json(EnsembleSpec, spec["settings"])
        own = {name.removeprefix(PREFIX): t for name, t in tensors.items() if name.startswith(PREFIX)}
        autoencoder = Autoencoder.restore(spec["autoencoder"], own)
        shapes = tensor_shapes(autoencoder.scale.shape[0], autoencoder.features, step, settings)
        received = {name: t.shape for name, t in tensors.items() if not name.startswith(PREFIX)}
        if received != shapes:
            wrong = min(name for name in {*shapes, *received} if shapes.get(name) != received.get(name))
            raise PackRejectedError(f"tensor {wrong} must be {shapes.get(wrong)}, received {received.get(wrong)}")
        return cls(autoencoder, Context(**{name: tensors[name] for name in shapes}), step, settings)


def window(autoencoder: int, step: int, spec: EnsembleSpec) -> int:
    """Samples of a window of an ensemble whose autoencoder looks at ``autoencoder`` samples."""
    return max(autoencoder, spec.usual.reach(step), spec.shapes.single, spec.shapes.several)


def tensor_shapes(series: int, features: int, step: int, spec: EnsembleSpec) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors of a context of ``series`` entities, by name."""
    day, lead = spec.usual.slots(step).per_day, lead_slots(step, spec)
    S, F, M = series, features, len(MEMBERS)
    D = spec.shapes.size(F)
    D, K = (D, spec.shapes.references) if D else (1, 1)
    shapes: dict[str, tuple[int, ...]] = {
        "clock": (S, 2),
        "origin": (S, 1),
        "tables": (S, TABLES, F, day + lead + 2),
        "base": (S, base_periods(step, spec), UNITS, F),
        "feature_lines": (S, KINDS, F, 3),
        "member_lines": (S, M, 3),
        "final_line": (S, 3),
        "guard": (S, M),
        "habit_origin": (S, 1),
        "habit": (S, habit_slots(step, spec).per_day),
        "widen": (S, 1),
        "seen": (S, F),
        "center": (S, F),
        "spread": (S, F),
        "references": (S, K, D),
        "residual_references": (S, K, D),
        "mean": (S, D),
        "unexplained": (S, D, D),
        "known": (S, 1),
    }
    return {f.name: shapes[f.name] for f in fields(Context)}


def lessons_of(x: F32, valid: Bool, start: int, step: int, spec: EnsembleSpec) -> Lessons:
    """The history of bridged samples ``x`` and ``valid`` [T, S, F] that begin at ``start``, and what it teaches."""
    T = x.shape[0]
    flat = np.ascontiguousarray(x.transpose(1, 2, 0)).reshape(-1, T)
    seen = np.ascontiguousarray(valid.transpose(1, 2, 0)).reshape(-1, T)
    return Lessons(look(flat, seen, start, step, spec.period, spec.usual), x.shape[2], spec)


def errors(autoencoder: Autoencoder, x: F32, valid: Bool) -> F32:
    """Errors [S, T] of ``autoencoder`` at every one of bridged samples ``x`` and ``valid`` [T, S, F]."""
    out = np.full((x.shape[1], x.shape[0]), np.nan, np.float32)
    w = windows.make(x, valid, 0, 1, autoencoder.window)
    if w.end.shape[1]:
        out[:, autoencoder.window - 1 :] = autoencoder.infer(w).error
    return out


def habit_slots(step: int, spec: EnsembleSpec) -> Slots:
    """The slots of the table of habits."""
    return Slots(spec.usual.calendar, max(spec.recurrence.slot, step))


def _read(w: Windows, error: F32, context: Context, step: int, spec: EnsembleSpec) -> Opinion:
    """Opinion of windows that end at consecutive instants, the same for all rows, by contexts of one time."""
    S, B, W, F = w.x.shape
    T = W + B - 1
    times = w.end[0, 0] + step * np.arange(1 - W, B, dtype=np.int64)
    slots = spec.usual.slots(step)
    below, share = slots.between(times)
    below = _repeated(below - int(context.origin[0, 0]), context.tables.shape[3] - 2, slots.per_day)
    period = (times - int(context.time[0])) // (max(spec.period // step, 1) * step)
    place = _Place(below, share, np.clip(period, 1 - context.base.shape[1], 0) - 1)
    x, valid = _unrolled(w.x), _unrolled(w.valid)
    high, residual = _heights(x, valid, B, place, context, step, spec)
    high = high.reshape(KINDS, S, F, -1).transpose(1, 0, 2, 3)
    high = np.where(context.seen[:, None, :, None] > 0, high, NAN)

    recent = slice(T - B - spec.shapes.length(F) + 1, None)
    unlike = context.heights(x.reshape(S, F, T)[:, :, recent], residual.reshape(S, F, T)[:, :, recent], spec.shapes)
    early = high.shape[-1] - B
    whole = np.full((S, len(ENTITY_MEMBERS), high.shape[-1]), np.nan, np.float32)
    whole[:, 0, early:], whole[:, 1:, early:] = error, unlike
    lines = context.lines
    stand, by_feature = opinion.member_heights(high, whole, lines.features, spec)
    members = lines.members.decades(stand[:, :, early:], spec.member) - context.guard[:, :, None]
    slot = habit_slots(step, spec).number(times[-B:]) - int(context.habit_origin[0, 0])
    combined = opinion.combine(members, spec) - context.habit[:, slot % context.habit.shape[1]]
    rarity = lines.final.decades(opinion.final_heights(combined), spec.final)
    rarity += np.float32(spec.shift) - context.widen
    rarity = np.where(context.widen < SILENT, rarity, NAN)
    if by_feature is None:
        features = rarity[:, :, None]
    else:
        features = opinion.feature_rarity(by_feature[..., early:], spec).transpose(0, 2, 1)
    return Opinion(rarity, members.transpose(0, 2, 1), MEMBERS, features)


@dataclass(frozen=True)
class _Place:
    """Where samples lie in the tables of a context: slot ``below`` and ``share`` of the way to the next; ``period``,
    counted from the newest (-1)."""

    below: I64
    share: F32
    period: I64

    def last(self, newest: int) -> _Place:
        at = slice(self.below.size - newest, None)
        return _Place(self.below[at], self.share[at], self.period[at])


def _heights(  # noqa: PLR0917
    x: F32, valid: Bool, newest: int, place: _Place, context: Context, step: int, spec: EnsembleSpec
) -> tuple[F32, F32]:
    """Heights [6, S x F, n] of features at the ``newest`` samples of ``x`` [S x F, T], after some samples in which only
    the differences are known; and bounded residuals [S x F, T]."""
    usual, T = spec.usual, x.shape[1]
    tables = context.tables.transpose(1, 0, 2, 3).reshape(TABLES, x.shape[0], -1)

    def unit(kind: int, where: _Place) -> F32:
        base = context.base[:, where.period, kind].transpose(0, 2, 1).reshape(x.shape[0], -1)
        return np.asarray(
            np.float32(usual.same_time) * at(tables[3 + kind], where.below, where.share) + base, np.float32
        )

    n = min(newest + max(usual.variation_samples, spec.smoothing) - 1, T)
    end, more = place.last(newest), place.last(n)
    residual = x - at(tables[0], place.below, place.share)
    seen = np.where(valid, residual, NAN)
    of_residual = unit(3, place)
    in_units = deviations.bounded(seen, of_residual, usual)
    late = slice(T - newest, None)
    outside = deviations.outside(x[:, late], *(at(t, end.below, end.share) for t in tables[1:3]))
    out = np.full((KINDS, x.shape[0], n), np.nan, np.float32)
    there = valid[:, T - n :]
    out[0] = np.where(there, deviations.in_units(deviations.difference(x, n), unit(0, more), usual), NAN)
    out[1] = np.where(there, deviations.in_units(deviations.difference(residual, n), unit(1, more), usual), NAN)
    out[2, :, n - newest :] = deviations.in_units(deviations.level(seen, newest, step, usual), unit(2, end), usual)
    out[3, :, n - newest :] = np.where(valid[:, late], deviations.in_units(outside, of_residual[:, late], usual), NAN)
    out[4, :, n - newest :] = deviations.shift(in_units, newest, step, usual)
    out[5, :, n - newest :] = deviations.variation(out[0], newest, usual)
    return out, in_units


def _repeated(slot: I64, last: int, day: int) -> I64:
    """``slot`` moved by whole days into 0..``last``: what a context does not tell of, another day does."""
    slot = slot - np.maximum(-((last - slot) // day), 0) * day
    return np.asarray(slot + np.maximum(-(slot // day), 0) * day, np.int64)


def _unrolled(x: Any) -> Any:
    """Samples [S x F, W + B - 1] under consecutive windows [S, B, W, F]."""
    S, _, _, F = x.shape
    line = np.concatenate([x[:, 0, :-1], x[:, :, -1]], axis=1)
    return np.ascontiguousarray(line.transpose(0, 2, 1)).reshape(S * F, -1)


def _runs(end: I64, step: int) -> list[tuple[int, int]]:
    """Ranges of windows that end at consecutive instants in every row."""
    breaks = np.flatnonzero((np.diff(end, axis=1) != step).any(axis=0)) + 1
    edges = [0, *(int(b) for b in breaks), end.shape[1]]
    return list(pairwise(edges))


def _silence(S: int, B: int, F: int) -> Opinion:
    """An opinion that says nothing."""
    nothing = (np.full(shape, np.nan, np.float32) for shape in ((S, B), (S, B, len(MEMBERS)), (S, B, F)))
    rarity, members, features = nothing
    return Opinion(rarity, members, MEMBERS, features)


def _joined(parts: Sequence[Opinion], axis: int) -> Opinion:
    return Opinion(
        np.concatenate([p.rarity for p in parts], axis=axis),
        np.concatenate([p.members for p in parts], axis=axis),
        MEMBERS,
        np.concatenate([p.feature_rarity for p in parts], axis=axis),
    )
