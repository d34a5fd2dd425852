"""Scoring one window per series: stacked NumPy against ``predict`` of one Keras model per series."""

from __future__ import annotations

import time

import numpy as np
from tests.support.stock_keras import random_weights, stock_model

from anomaly_models.autoencoder import recipe
from anomaly_models.forward import forward

from .jobs import Job, series

REPEATS = 3


def stacked(job: Job, name: str) -> dict[str, float]:
    """All ``job.scored`` series with the shipped forward pass; best of a few passes."""
    layers = recipe(name, job.window, job.features)
    weights = random_weights(layers, job.window, job.features, job.scored)
    x = series(job.scored, job.window, job.features).transpose(1, 0, 2)[:, None]
    x = np.ascontiguousarray((x - 50) / 10)
    forward(layers, weights, x)
    best = float("inf")
    for _ in range(REPEATS):
        start = time.perf_counter()
        forward(layers, weights, x)
        best = min(best, time.perf_counter() - start)
    return {"seconds": best, "series": job.scored}


def one_by_one(job: Job, name: str) -> dict[str, float]:
    """``predict`` of a few stock Keras models, tracing not counted; also how far outputs differ from ours."""
    layers = recipe(name, job.window, job.features)
    weights = random_weights(layers, job.window, job.features, job.keras_scored)
    x = (series(job.keras_scored, job.window, job.features).transpose(1, 0, 2)[:, None] - 50) / np.float32(10)
    ours = forward(layers, weights, x)
    models = [stock_model(layers, job.window, job.features, weights, row) for row in range(job.keras_scored)]
    outputs = [model.predict(x[row], verbose=0) for row, model in enumerate(models)]
    best = float("inf")
    for _ in range(REPEATS):
        start = time.perf_counter()
        for row, model in enumerate(models):
            model.predict(x[row], verbose=0)
        best = min(best, time.perf_counter() - start)
    return {"seconds": best, "series": job.keras_scored, "difference": float(np.abs(np.stack(outputs) - ours).max())}
