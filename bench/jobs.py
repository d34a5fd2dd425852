"""What is measured, on which data, and how much of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anomaly_models import windows
from anomaly_models.frame import F32, Windows
from anomaly_models.model_spec import ModelSpec

RECIPES = ("fc", "cnn", "lstm", "gru", "cnn_lstm", "cnn_gru")


@dataclass(frozen=True)
class Job:
    """Sizes of one run. Rates of training are for ``reference_epochs``; ``epochs`` of them are really run."""

    window: int = 48
    features: int = 1
    scored: int = 10_000
    keras_scored: int = 5
    trained: int = 64
    keras_trained: int = 2
    train_windows: int = 1_024
    val_windows: int = 256
    batch: int = 64
    epochs: int = 20
    reference_epochs: int = 20

    def spec(self, recipe: str) -> ModelSpec:
        return ModelSpec(recipe, window=self.window, epochs=self.epochs, patience=self.epochs, batch=self.batch)


FULL = Job()
QUICK = Job(scored=1_000, keras_scored=2, trained=32, keras_trained=1, train_windows=256, val_windows=64, epochs=3)


def series(S: int, T: int, F: int) -> F32:
    """[T, S, F]: waves of period 48 with noise."""
    rng = np.random.default_rng(0)
    t = np.arange(T)[:, None, None]
    wave = np.sin(2 * np.pi * (t / 48 + rng.random((S, F)))) + 0.1 * rng.normal(size=(T, S, F))
    return (50 + 10 * wave).astype(np.float32)


def split(job: Job, S: int) -> tuple[Windows, Windows]:
    """Training and validation windows of ``S`` series."""
    T = job.train_windows + job.val_windows + 2 * (job.window - 1)
    x = series(S, T, job.features)
    valid, border = np.ones_like(x, np.bool_), job.train_windows + job.window - 1
    return (
        windows.make(x[:border], valid[:border], 0, 60, job.window),
        windows.make(x[border:], valid[border:], 60 * border, 60, job.window),
    )
