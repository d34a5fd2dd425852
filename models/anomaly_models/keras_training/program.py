"""The stacked network, its optimizer, and the two traced functions that train and validate all rows at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from anomaly_models.autoencoder import INPUT_BOUND
from anomaly_models.exceptions import InvalidShapeError
from anomaly_models.frame import F32, Bool
from anomaly_models.layers import Dense, Dropout, Flatten, Layers, Reshape, shapes
from anomaly_models.scaling import Scaler

from .stacked import Stacked

OPTIMIZERS = {"adam": keras.optimizers.Adam, "rmsprop": keras.optimizers.RMSprop}


class StackedProgram:
    """S models of one architecture and the graphs that train them.

    The loss of a row is the mean over its windows of the mean squared error over the samples of the features that are
    usable in the window, in scaler units clipped as in serving. The total is the *sum* over rows: the gradient of a
    row is then the gradient of its own loss. Stock optimizers are elementwise, hence per row; nothing here clips by a
    norm, which would couple rows.

    ``traces`` and ``executions`` count compiled graphs and their runs: a fleet is one training and one validation
    graph, whatever S.
    """

    def __init__(
        self,
        layers: Layers,
        scaler: Scaler,
        *,
        window: int,
        seed: int,
        optimizer: str,
        learning_rate: float,
        compiled: bool,
    ) -> None:
        """``compiled``: XLA, for networks of plain products only (others compile for long or fail).

        Raises:
            InvalidShapeError: unknown optimizer, or layers that do not fit the windows.
        """
        if optimizer not in OPTIMIZERS:
            raise InvalidShapeError(f"optimizer must be one of {tuple(OPTIMIZERS)}, received {optimizer!r}")
        S, F = scaler.center.shape
        # An initial value is drawn per layer and tensor: ten per layer leaves room for every tensor of a layer.
        places = shapes(layers, window, F)
        self.layers = [Stacked(place, S, 1000 * seed + 10 * index) for index, place in enumerate(places)]
        self._center = tf.constant(scaler.center[:, None, None, :])
        self._scale = tf.constant(scaler.scale[:, None, None, :])
        self._variables = {name: v for layer in self.layers for name, v in layer.weights_by_name.items()}
        self.optimizer = OPTIMIZERS[optimizer](learning_rate=learning_rate)
        self.optimizer.build(list(self._variables.values()))
        self.traces = 0
        self.executions = 0
        self.validations = 0
        jit = compiled and all(isinstance(layer, (Dense, Flatten, Reshape, Dropout)) for layer in layers)
        self._train = tf.function(self._train_step, jit_compile=jit)
        self._validate = tf.function(self._row_losses, jit_compile=jit)

    def train(self, x: F32, weight: F32, live: Bool, seed: int) -> F32:
        """One optimizer step on windows ``x`` [S, B, W, F] (own units) weighted [S, B]; rows not ``live`` stay.

        Returns the loss of every row before the step, [S].
        """
        self.executions += 1
        at = tf.constant([seed, self.executions], tf.int32)
        return np.asarray(self._train(tf.constant(x), tf.constant(weight), tf.constant(live), at))

    def validate(self, x: F32, weight: F32) -> F32:
        """Loss of every row on windows ``x`` [S, B, W, F] weighted [S, B], without dropout: [S]."""
        self.validations += 1
        return np.asarray(self._validate(tf.constant(x), tf.constant(weight)))

    def weights(self) -> dict[str, F32]:
        """The weights as they are now, copied."""
        return {name: np.array(v.value.numpy()) for name, v in self._variables.items()}

    def assign(self, weights: Mapping[str, F32]) -> None:
        """Set all weights."""
        for name, variable in self._variables.items():
            variable.assign(weights[name])

    def gradients(self, x: F32, weight: F32) -> dict[str, F32]:
        """Gradient of the summed loss by every weight; each row's part is the gradient of that row's own loss."""
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(self._losses(tf.constant(x), tf.constant(weight), False, None))
        found = tape.gradient(total, list(self._variables.values()))
        return {name: np.asarray(g) for name, g in zip(self._variables, found, strict=True)}

    def _losses(self, x: Any, weight: Any, training: bool, seed: Any) -> Any:
        usable = tf.reduce_all(tf.math.is_finite(x), axis=2, keepdims=True)
        scaled = tf.clip_by_value((x - self._center) / self._scale, -INPUT_BOUND, INPUT_BOUND)
        inputs = tf.where(usable, scaled, 0.0)
        output = inputs
        for index, layer in enumerate(self.layers):
            output = layer(output, training=training, seed=None if seed is None else tf.add(seed, [0, 7919 * index]))
        share = tf.cast(usable, tf.float32)
        per_feature = tf.reduce_mean(tf.square(output - inputs), axis=2) * share[:, :, 0]
        per_window = tf.reduce_sum(per_feature, axis=2) / tf.maximum(tf.reduce_sum(share[:, :, 0], axis=2), 1.0)
        return tf.reduce_sum(per_window * weight, axis=1) / tf.maximum(tf.reduce_sum(weight, axis=1), 1.0)

    def _row_losses(self, x: Any, weight: Any) -> Any:
        self.traces += 1  # runs only while tracing
        return self._losses(x, weight, False, None)

    def _train_step(self, x: Any, weight: Any, live: Any, seed: Any) -> Any:
        self.traces += 1  # runs only while tracing
        variables = list(self._variables.values())
        with tf.GradientTape() as tape:
            losses = self._losses(x, weight, True, seed)
            total = tf.reduce_sum(tf.where(live, losses, 0.0))
        gradients = tape.gradient(total, variables)
        before = [tf.identity(v) for v in variables]
        self.optimizer.apply(gradients, variables)
        # A zero gradient still moves Adam: what is masked is the update. A stopped row never learns again, so its
        # slots do not matter any more.
        for variable, old in zip(variables, before, strict=True):
            mask = tf.reshape(live, (-1,) + (1,) * (len(variable.shape) - 1))
            variable.assign(tf.where(mask, variable.value, old))
        return losses
