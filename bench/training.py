"""Training: a fleet as one stacked program against one Keras model per series, on the same windows.

Both are timed as a set-up (building, tracing, the first epoch's overhead) and seconds per further epoch, and put
together for the reference number of epochs. Nothing stops early.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from tests.support.stock_keras import stock_model

from anomaly_models.autoencoder import recipe

from .jobs import Job, split


def stacked(job: Job, name: str) -> dict[str, float]:
    """``job.trained`` series by the shipped learner, validation and best weights included."""
    from anomaly_models.keras_training import KerasLearner

    train, val = split(job, job.trained)
    ticks: list[float] = []
    learner = KerasLearner(job.spec(name), lambda progress: ticks.append(time.perf_counter()))
    start = time.perf_counter()
    learner.fit(train, val, None, None, 0)
    report = learner.report
    assert report is not None
    losses = {"val_loss": float(np.mean([row.val_loss for row in report.rows])), "graphs": report.traces}
    return {**_parts(start, ticks), "series": job.trained, **losses}


def one_by_one(job: Job, name: str) -> dict[str, float]:
    """``fit`` of a few stock Keras models, each new: build, compile, trace, train, validate."""
    import keras

    train, val = split(job, job.keras_trained)
    spec = job.spec(name)
    ticks: list[float] = []

    class Ticker(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            ticks.append(time.perf_counter())

    # What the library does once per process is not the models' doing.
    small = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    small.compile(optimizer="adam", loss="mse")
    small.fit(np.zeros((1, 1)), np.zeros((1, 1)), verbose=0)
    total: dict[str, float] = {"setup": 0.0, "epoch": 0.0}
    losses = []
    for row in range(job.keras_trained):
        x, v = ((w.x[row] - 50) / 10 for w in (train, val))
        ticks.clear()
        start = time.perf_counter()
        model = stock_model(recipe(name, job.window, job.features), job.window, job.features)
        model.compile(optimizer=keras.optimizers.Adam(spec.learning_rate), loss="mse")
        history = model.fit(
            x, x, batch_size=job.batch, epochs=job.epochs, validation_data=(v, v), verbose=0, callbacks=[Ticker()]
        )
        losses.append(min(history.history["val_loss"]))
        for part, seconds in _parts(start, ticks).items():
            total[part] += seconds
    return {**total, "series": job.keras_trained, "val_loss": float(np.mean(losses))}


def _parts(start: float, ticks: list[float]) -> dict[str, float]:
    """Seconds of the set-up and of one epoch, from the times at which epochs ended."""
    epoch = (ticks[-1] - ticks[0]) / (len(ticks) - 1)
    return {"setup": max(ticks[0] - start - epoch, 0.0), "epoch": epoch}


def per_minute(job: Job, parts: dict[str, float]) -> float:
    """Series trained in a minute at the reference number of epochs."""
    return 60 * parts["series"] / (parts["setup"] + job.reference_epochs * parts["epoch"])
