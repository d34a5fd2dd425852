"""The training loop of a fleet: epochs, early stopping and best weights of every row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anomaly_models import scaling, windows
from anomaly_models.autoencoder import Autoencoder, Widths, recipe
from anomaly_models.exceptions import InvalidShapeError, UntrainableError
from anomaly_models.frame import F32, I64, Bool, Scorer, Windows
from anomaly_models.model_spec import ModelSpec
from anomaly_models.scaling import Scaler

from .program import StackedProgram
from .sampling import Stream, steps_per_epoch, thin

VALIDATION_SHARE = 4
"""A validation looks at no more than ``max_windows / VALIDATION_SHARE`` windows of a row, evenly spread, ..."""
VALIDATION_LEAST = 256
"""... but at as many as there are up to this."""
COMPILED_STEPS = 3000
"""Fewest planned optimizer steps for which compiling with XLA (seconds) is paid back by faster steps."""


@dataclass(frozen=True)
class Progress:
    """How far a fleet has come: ``live`` of ``rows`` still learn; ``epoch`` of at most ``epochs`` of the furthest row;
    mean losses over the rows that were just validated (NaN: none)."""

    epoch: int
    epochs: int
    live: int
    rows: int
    train_loss: float
    val_loss: float


@dataclass(frozen=True)
class RowReport:
    """What became of one row.

    ``epochs`` passed, ``best_epoch`` whose weights are kept (0 = the initial ones), ``train_loss`` (mean over that
    epoch) and ``val_loss`` of the best epoch, mean squared errors in scaler units, NaN where there is none;
    ``windows`` usable for training. ``trained`` is False for a row without usable windows or one that never became
    better than its random start: its weights are the initial ones and must not be used.
    """

    trained: bool
    epochs: int
    best_epoch: int
    train_loss: float
    val_loss: float
    windows: int


@dataclass(frozen=True)
class FitReport:
    """What one ``fit`` did: per row, and how many graphs were traced and run for the whole stack."""

    rows: tuple[RowReport, ...]
    warm: bool
    traces: int
    executions: int
    validations: int


class KerasLearner:
    """Fits autoencoders to S series as one stacked program: a ``Learner``; ``report`` tells of the last ``fit``."""

    def __init__(
        self, spec: ModelSpec, progress: Callable[[Progress], None] | None = None, scaler: Scaler | None = None
    ) -> None:
        """``scaler`` [S, F] instead of one fitted on the training windows."""
        self.spec = spec
        self.scaler = scaler
        self.progress = progress
        self.report: FitReport | None = None

    def fit(
        self,
        train: Windows,
        val: Windows,
        y: npt.NDArray[np.int8] | None,
        warm: Scorer | None,
        seed: int,
    ) -> Autoencoder:
        """Train one model per series.

        Args:
            train: windows to learn from; those not usable (``windows.usable``) or with ``y`` = 1 are left out.
            val: windows for early stopping; a row without usable ones stops by its training loss instead.
            y: [S, B] int8, 1 = abnormal, or None.
            warm: start from these models if they are ``Autoencoder`` of equal layers and S; rows of it whose weights
                are not finite start cold. Anything else starts cold.
            seed: same windows, same seed, same weights, whatever the neighbours in the stack.

        Raises:
            UntrainableError: no row has a usable window (``no_usable_windows``).
            InvalidShapeError: the arrays or the specification do not fit each other.
        """
        spec = self.spec
        S, _, W, F = train.x.shape
        if spec.window != W or val.x.shape[0] != S or val.x.shape[2:] != (W, F):
            raise InvalidShapeError(
                f"training and validation windows must be [{S}, B, {spec.window}, {F}], "
                f"received {train.x.shape} and {val.x.shape}"
            )
        usable = windows.usable(train, spec.min_features, spec.tail)
        if y is not None:
            usable = usable & (y != 1)
        teaching = [np.flatnonzero(row) for row in usable]
        if not any(row.size for row in teaching):
            raise UntrainableError("no_usable_windows", f"{S} series, {train.x.shape[1]} windows each")
        most = max(spec.max_windows // VALIDATION_SHARE, VALIDATION_LEAST)
        checking = [thin(np.flatnonzero(row), most) for row in windows.usable(val, spec.min_features, spec.tail)]

        scaler = self.scaler or scaling.fit(
            windows.samples(train)[0], spec.scaler, spec.minimum_scale, spec.minimum_relative_scale
        )
        widths = Widths(spec.filters, spec.kernel, spec.units, spec.code)
        layers = recipe(spec.recipe, W, F, spec.dropout, widths)
        per_epoch = np.array([steps_per_epoch(min(row.size, spec.max_windows), spec.batch) for row in teaching])
        program = StackedProgram(
            layers,
            scaler,
            window=W,
            seed=seed,
            optimizer=spec.optimizer,
            learning_rate=spec.learning_rate,
            compiled=int(per_epoch.max()) * spec.epochs >= COMPILED_STEPS,
        )
        warmed = np.zeros(S, np.bool_)
        if isinstance(warm, Autoencoder) and warm.layers == layers and warm.scale.shape == (S, F):
            warmed = _finite(warm)
            program.assign(_choose(warmed, warm.weights, program.weights()))
        best, state = self._run(
            program, train, val, teaching=teaching, checking=checking, per_epoch=per_epoch, seed=seed
        )
        rows = state.reports([row.size for row in teaching], warmed)
        self.report = FitReport(rows, bool(warmed.any()), program.traces, program.executions, program.validations)
        return Autoencoder(layers, W, spec.tail, scaler, best)

    def _run(
        self,
        program: StackedProgram,
        train: Windows,
        val: Windows,
        *,
        teaching: list[I64],
        checking: list[I64],
        per_epoch: I64,
        seed: int,
    ) -> tuple[dict[str, F32], _Stopping]:
        spec, S = self.spec, len(teaching)
        streams = [Stream(row, spec.max_windows, seed) for row in teaching]
        state = _Stopping(S, spec.epochs, spec.patience, np.array([row.size > 0 for row in teaching]))
        best = program.weights()
        state.begin(_losses(program, val, checking, spec.batch))
        weight = np.broadcast_to(state.live[:, None], (S, spec.batch)).astype(np.float32)
        summed = np.zeros(S)
        step = 0
        while state.live.any():
            step += 1
            x = _gather(train.x, [stream.take(spec.batch) for stream in streams])
            summed += program.train(x, weight, state.live, seed)
            due = state.live & (step % per_epoch == 0)
            if not due.any():
                continue
            train_loss = summed / per_epoch
            summed[due] = 0
            improved = state.judge(due, train_loss, _losses(program, val, checking, spec.batch))
            if improved.any():
                for name, tensor in program.weights().items():
                    best[name][improved] = tensor[improved]
            if self.progress:
                self.progress(state.progress(due))
        return best, state


class _Stopping:
    """Early stopping of every row on its own: arrays [S]."""

    def __init__(self, S: int, epochs: int, patience: int, live: Bool) -> None:
        self.most, self.patience = epochs, patience
        self.live = live.copy()
        self.epoch = np.zeros(S, np.int64)
        self.best_epoch = np.zeros(S, np.int64)
        self.best = np.full(S, np.inf)
        self.train_loss = np.full(S, np.nan)
        self.val_loss = np.full(S, np.nan)
        self.last = np.full((2, S), np.nan)

    def begin(self, val_loss: F32) -> None:
        """Rows start no better than their initial weights: what a warm start may fall back to."""
        self.best = np.where(np.isfinite(val_loss), val_loss, np.inf)
        self.val_loss = val_loss.astype(np.float64)

    def judge(self, due: Bool, train_loss: npt.NDArray[np.float64], val_loss: F32) -> Bool:
        """Count an epoch of the rows ``due``; returns which are better than ever. Stops those out of patience."""
        self.epoch[due] += 1
        judged = np.where(np.isnan(val_loss) & np.isnan(self.val_loss), train_loss, val_loss)
        improved: Bool = due & np.isfinite(judged) & (judged < self.best)
        self.best[improved] = judged[improved]
        self.best_epoch[improved] = self.epoch[improved]
        self.train_loss[improved] = train_loss[improved]
        self.val_loss[improved] = val_loss[improved]
        self.last = np.stack([train_loss, val_loss])
        self.live &= ~(due & ((self.epoch >= self.most) | (self.epoch - self.best_epoch >= self.patience)))
        return improved

    def progress(self, due: Bool) -> Progress:
        train_loss, val_loss = (
            float(np.mean(row[due & np.isfinite(row)])) if (due & np.isfinite(row)).any() else float("nan")
            for row in self.last
        )
        return Progress(int(self.epoch.max()), self.most, int(self.live.sum()), self.live.size, train_loss, val_loss)

    def reports(self, counts: list[int], warmed: Bool) -> tuple[RowReport, ...]:
        """Per row; ``counts`` windows each, ``warmed``: the start was a fitted model."""
        return tuple(
            RowReport(
                trained=count > 0 and bool(self.best_epoch[s] > 0 or warmed[s]),
                epochs=int(self.epoch[s]),
                best_epoch=int(self.best_epoch[s]),
                train_loss=float(self.train_loss[s]),
                val_loss=float(self.val_loss[s]),
                windows=count,
            )
            for s, count in enumerate(counts)
        )


def _gather(x: F32, indices: list[I64]) -> F32:
    """Windows ``indices`` (one list of equal length per row) of the view ``x`` [S, B, W, F], copied: [S, n, W, F]."""
    out = np.empty((x.shape[0], indices[0].size, *x.shape[2:]), np.float32)
    if x.shape[1]:
        for s, row in enumerate(indices):
            out[s] = x[s, row]
    else:
        out.fill(np.nan)
    return out


def _losses(program: StackedProgram, w: Windows, indices: list[I64], batch: int) -> F32:
    """Mean loss of every row over its windows ``indices``, [S]; NaN for a row without any."""
    counts = np.array([row.size for row in indices])
    total = np.zeros(counts.size)
    for first in range(0, int(counts.max(initial=0)), batch):
        at = np.zeros((counts.size, batch), np.int64)
        weight = np.zeros((counts.size, batch), np.float32)
        for s, row in enumerate(indices):
            part = row[first : first + batch]
            at[s, : part.size], weight[s, : part.size] = part, 1
        seen = weight.sum(axis=1)
        loss = program.validate(_gather(w.x, list(at)), weight)
        total += np.where(seen > 0, loss * seen, 0)
    return np.where(counts > 0, total / np.maximum(counts, 1), np.nan).astype(np.float32)


def _finite(warm: Autoencoder) -> Bool:
    """Rows all of whose weights are finite, [S]."""
    S = warm.scale.shape[0]
    finite = np.ones(S, np.bool_)
    for tensor in warm.weights.values():
        finite &= np.isfinite(tensor).reshape(S, -1).all(axis=1)
    return finite


def _choose(rows: Bool, yes: Mapping[str, F32], no: Mapping[str, F32]) -> dict[str, F32]:
    """Weights of ``yes`` in ``rows``, of ``no`` elsewhere."""
    return {name: np.where(rows.reshape(-1, *(1,) * (t.ndim - 1)), yes[name], t) for name, t in no.items()}
