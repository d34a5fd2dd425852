"""Training a fleet: one program for all rows, each row as if trained alone by stock Keras."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from anomaly_models import windows
from anomaly_models.autoencoder import RECIPES, Autoencoder, recipe
from anomaly_models.exceptions import InvalidShapeError, UntrainableError
from anomaly_models.forward import forward
from anomaly_models.frame import F32, Windows
from anomaly_models.layers import Conv1D, Dense, Flatten, Layers, Reshape
from anomaly_models.model_spec import ModelSpec
from anomaly_models.scaling import Scaler
from support.stock_keras import random_weights, stock_model

pytestmark = pytest.mark.keras


def seasonal(S: int, T: int = 360, F: int = 1, seed: int = 0) -> F32:
    """[T, S, F]: sine waves of period 48, every series with its own phase, level and size, and noise of 5 %."""
    rng = np.random.default_rng(seed)
    t = np.arange(T)[:, None, None]
    size = rng.uniform(1, 10, (S, F))
    wave = np.sin(2 * np.pi * (t / 48 + rng.random((S, F)))) + 0.05 * rng.normal(size=(T, S, F))
    return (100 + size * wave).astype(np.float32)


def cut(x: F32, W: int, valid: npt.NDArray[np.bool_] | None = None, border: float = 0.75) -> tuple[Windows, Windows]:
    valid = np.isfinite(x) if valid is None else valid
    at = int(len(x) * border)
    return windows.make(x[:at], valid[:at], 0, 60, W), windows.make(x[at:], valid[at:], 60 * at, 60, W)


def fit(spec: ModelSpec, x: F32, warm: Autoencoder | None = None, seed: int = 0) -> tuple[Autoencoder, Any]:
    from anomaly_models.keras_training import KerasLearner

    learner = KerasLearner(spec)
    fitted = learner.fit(*cut(x, spec.window), None, warm, seed)
    assert learner.report is not None
    return fitted, learner.report


def program(layers: Layers, S: int, W: int, F: int, compiled: bool = False) -> Any:
    from anomaly_models.keras_training.program import StackedProgram

    scaler = Scaler(np.zeros((S, F), np.float32), np.ones((S, F), np.float32))
    return StackedProgram(layers, scaler, window=W, seed=0, optimizer="adam", learning_rate=1e-2, compiled=compiled)


def assert_gradients_equal_stock(layers: Layers, W: int, F: int) -> None:
    import keras
    import tensorflow as tf

    S, B = 3, 4
    stack, weights = program(layers, S, W, F), random_weights(layers, W, F, S)
    stack.assign(weights)
    x = np.random.default_rng(1).normal(size=(S, B, W, F)).astype(np.float32)
    ours = stack.gradients(x, np.ones((S, B), np.float32))
    np.testing.assert_allclose(
        stack.validate(x, np.ones((S, B), np.float32)),
        np.square(forward(layers, weights, x) - x).mean(axis=(1, 2, 3)),
        rtol=1e-5,
    )
    for row in range(S):
        model = stock_model(layers, W, F, weights, row)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(keras.losses.mean_squared_error(x[row], model(x[row])))
        stock = [np.asarray(g) for g in tape.gradient(loss, model.trainable_variables)]
        for (name, tensor), g in zip(ours.items(), stock, strict=True):
            assert np.linalg.norm(tensor[row] - g) <= 1e-5 * max(np.linalg.norm(g), 1e-3), name


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize(("features", "window"), [(1, 24), (38, 8)])
def test_gradients_of_the_stack_are_those_of_stock_keras_models(name: str, features: int, window: int) -> None:
    assert_gradients_equal_stock(recipe(name, window, features), window, features)


@pytest.mark.parametrize("steps", [9, 27, 28, 29, 30])
@pytest.mark.parametrize("stride", [1, 2])
def test_short_and_long_convolutions_have_the_same_gradients_as_stock_keras(steps: int, stride: int) -> None:
    """Up to four kernels' lengths one matrix product, beyond a convolution per row: both sides of 28 steps."""
    layers: Layers = (Conv1D(3, 7, stride, activation="tanh"), Flatten(), Dense(steps * 2), Reshape(steps, 2))
    assert_gradients_equal_stock(layers, steps, 2)


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_long_recurrences_loop_in_the_graph_with_the_same_gradients(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from anomaly_models.keras_training import stacked

    monkeypatch.setattr(stacked, "UNROLL_STEPS", 5)
    assert_gradients_equal_stock(recipe(name, 6, 2), 6, 2)


def test_the_compiled_step_learns_what_the_plain_one_learns() -> None:
    S, W = 3, 8
    layers = recipe("fc", W, 1)
    x = np.random.default_rng(1).normal(size=(S, 16, W, 1)).astype(np.float32)
    plain, compiled = program(layers, S, W, 1), program(layers, S, W, 1, compiled=True)
    one, live = np.ones((S, 16), np.float32), np.ones(S, np.bool_)
    for _ in range(5):
        np.testing.assert_allclose(plain.train(x, one, live, 0), compiled.train(x, one, live, 0), rtol=1e-4)
    for name, tensor in plain.weights().items():
        np.testing.assert_allclose(tensor, compiled.weights()[name], atol=1e-4)


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_steps_of_the_stack_are_steps_of_the_stock_optimizer(optimizer: str) -> None:
    import keras

    from anomaly_models.keras_training.program import StackedProgram

    S, W = 2, 8
    layers = recipe("fc", W, 1)
    scaler = Scaler(np.zeros((S, 1), np.float32), np.ones((S, 1), np.float32))
    stack = StackedProgram(layers, scaler, window=W, seed=0, optimizer=optimizer, learning_rate=1e-2, compiled=False)
    weights = random_weights(layers, W, 1, S)
    stack.assign(weights)
    x = np.random.default_rng(1).normal(size=(S, 16, W, 1)).astype(np.float32)
    for _ in range(4):
        stack.train(x, np.ones((S, 16), np.float32), np.ones(S, np.bool_), 0)
    for row in range(S):
        model = stock_model(layers, W, 1, weights, row)
        model.compile(
            optimizer=keras.optimizers.get({"class_name": optimizer, "config": {"learning_rate": 1e-2}}), loss="mse"
        )
        for _ in range(4):
            model.train_on_batch(x[row], x[row])
        for name, stock in zip(weights, model.get_weights(), strict=True):
            np.testing.assert_allclose(stack.weights()[name][row], stock, atol=2e-4)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_beats_predicting_the_mean_by_a_third(name: str) -> None:
    x = seasonal(8)
    fitted, report = fit(ModelSpec(name, window=24, epochs=12, learning_rate=5e-3), x)
    _, val = cut(x, 24)
    mean = x[: int(len(x) * 0.75)].mean(axis=0)[:, None, None, :]
    rmse = np.sqrt(np.square(fitted.reconstruct(val.x) - val.x).mean(axis=(1, 2, 3)))
    by_mean = np.sqrt(np.square(val.x - mean).mean(axis=(1, 2, 3)))
    assert (rmse < 0.7 * by_mean).all(), rmse / by_mean
    assert all(row.trained and row.best_epoch > 0 for row in report.rows)


@pytest.mark.parametrize("S", [1, 7])
def test_a_fleet_of_any_size_is_one_program(S: int) -> None:
    _, report = fit(ModelSpec("fc", window=8, epochs=3, patience=9, batch=32), seasonal(S, T=200))
    assert report.traces == 2  # one graph trains, one validates
    assert report.executions == 3 * 4  # epochs x steps (143 windows in batches of 32), whatever S
    assert report.validations == (3 + 1) * 2  # 43 windows in batches of 32, before the first and after every epoch
    assert len(report.rows) == S


def test_one_row_learns_the_same_among_any_neighbours() -> None:
    """Other series, series that stop early, with gaps and with nothing to learn from; another place in the stack."""
    x = seasonal(5, T=300)
    x[:, 1] = 3.0
    x[100:, 2] = np.nan
    x[:, 3] = np.nan
    spec = ModelSpec("fc", window=12, epochs=6, patience=2, batch=32, dropout=0.1)
    together, _ = fit(spec, x)
    alone, _ = fit(spec, x[:, 4:])
    for name, tensor in together.tensors().items():
        np.testing.assert_allclose(tensor[4], alone.tensors()[name][0], atol=1e-4)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    spec = ModelSpec("cnn", window=8, epochs=2, batch=32, dropout=0.2)
    x = seasonal(2, T=150)
    first, again, other = fit(spec, x)[0], fit(spec, x)[0], fit(spec, x, seed=1)[0]
    for name, tensor in first.tensors().items():
        np.testing.assert_array_equal(tensor, again.tensors()[name])
    assert any(not np.allclose(t, other.tensors()[n]) for n, t in first.tensors().items())


def test_a_stopped_row_stays_bit_for_bit() -> None:
    layers = recipe("lstm", 6, 1)
    stack = program(layers, 3, 6, 1)
    x = np.random.default_rng(1).normal(size=(3, 8, 6, 1)).astype(np.float32)
    one = np.ones((3, 8), np.float32)
    for _ in range(3):
        stack.train(x, one, np.ones(3, np.bool_), 0)
    before = stack.weights()
    for _ in range(3):
        stack.train(x, one, np.array([True, False, True]), 0)
    for name, tensor in stack.weights().items():
        np.testing.assert_array_equal(tensor[1], before[name][1])
        assert not np.array_equal(tensor[0], before[name][0])


def test_a_row_that_diverges_harms_no_other() -> None:
    stack = program(recipe("fc", 6, 1), 2, 6, 1)
    weights = stack.weights()
    for tensor in weights.values():
        tensor[0] = np.nan
    stack.assign(weights)
    x = np.random.default_rng(1).normal(size=(2, 8, 6, 1)).astype(np.float32)
    first = stack.train(x, np.ones((2, 8), np.float32), np.ones(2, np.bool_), 0)
    for _ in range(20):
        last = stack.train(x, np.ones((2, 8), np.float32), np.ones(2, np.bool_), 0)
    assert np.isnan(last[0])
    assert last[1] < 0.9 * first[1]


def test_rows_stop_on_their_own_and_keep_their_best_weights() -> None:
    """White noise overfits and stops; a season goes on. Kept weights give exactly the reported validation loss."""
    x = seasonal(2, T=400)
    x[:, 0] = np.random.default_rng(0).normal(size=(400, 1))
    fitted, report = fit(ModelSpec("fc", window=16, epochs=40, patience=3, learning_rate=1e-2), x)
    noise, season = report.rows
    assert noise.epochs < 40
    assert noise.epochs == noise.best_epoch + 3
    assert season.best_epoch > noise.best_epoch
    _, val = cut(x, 16)
    scaled = fitted.scaler.to_units(val.x)
    loss = np.square(forward(fitted.layers, fitted.weights, scaled) - scaled).mean(axis=(1, 2, 3))
    np.testing.assert_allclose([r.val_loss for r in report.rows], loss, rtol=1e-3)


def test_a_row_without_windows_is_reported_and_breaks_nothing() -> None:
    x = seasonal(3, T=200)
    x[:, 1] = np.nan
    fitted, report = fit(ModelSpec("fc", window=8, epochs=4), x)
    assert [row.trained for row in report.rows] == [True, False, True]
    assert report.rows[1].windows == 0
    assert report.rows[1].epochs == 0
    assert all(np.isfinite(tensor).all() for tensor in fitted.tensors().values())


def test_a_row_without_validation_windows_stops_by_its_training_loss() -> None:
    x = seasonal(2, T=200)
    x[150:, 0] = np.nan
    _, report = fit(ModelSpec("fc", window=8, epochs=4), x)
    assert report.rows[0].trained
    assert report.rows[0].best_epoch > 0
    assert np.isnan(report.rows[0].val_loss)
    assert np.isfinite(report.rows[1].val_loss)


def test_nothing_to_learn_from_is_an_untrainable_fleet() -> None:
    with pytest.raises(UntrainableError, match="no_usable_windows"):
        fit(ModelSpec("fc", window=8), np.full((60, 2, 1), np.nan, np.float32))
    with pytest.raises(UntrainableError, match="no_usable_windows"):
        fit(ModelSpec("fc", window=50), seasonal(2, T=60))


def test_windows_of_another_length_are_refused() -> None:
    from anomaly_models.keras_training import KerasLearner

    learner = KerasLearner(ModelSpec("fc", window=8))
    with pytest.raises(InvalidShapeError, match=r"windows must be \[2, B, 8, 1\]"):
        learner.fit(*cut(seasonal(2, T=60), 9), None, None, 0)


def test_a_row_that_never_gets_better_than_its_random_start_counts_as_untrained() -> None:
    spec = ModelSpec("fc", window=8, epochs=1, learning_rate=1.0)
    _, report = fit(spec, seasonal(2, T=200))
    assert [(row.trained, row.best_epoch) for row in report.rows] == [(False, 0)] * 2
    fitted, _ = fit(ModelSpec("fc", window=8, epochs=2), seasonal(2, T=200))
    kept, report = fit(spec, seasonal(2, T=200), warm=fitted)
    assert [(row.trained, row.best_epoch) for row in report.rows] == [(True, 0)] * 2
    np.testing.assert_array_equal(kept.weights["layer01_kernel"], fitted.weights["layer01_kernel"])


def test_windows_marked_abnormal_or_with_gaps_are_never_learned_from() -> None:
    from anomaly_models.keras_training import KerasLearner

    x = seasonal(1, T=200)
    train, val = cut(x, 8)
    y = np.zeros(train.x.shape[:2], np.int8)
    y[:, 40:] = 1
    learner = KerasLearner(ModelSpec("fc", window=8, epochs=2))
    learner.fit(train, val, y, None, 0)
    assert learner.report is not None
    assert learner.report.rows[0].windows == 40
    x[20:22] = np.nan
    _, report = fit(ModelSpec("fc", window=8, epochs=2), x)
    assert report.rows[0].windows == train.x.shape[1] - 9


def test_a_missing_feature_is_left_out_of_the_loss_of_its_windows() -> None:
    layers = recipe("fc", 6, 2)
    stack = program(layers, 1, 6, 2)
    x = np.random.default_rng(1).normal(size=(1, 1, 6, 2)).astype(np.float32)
    x[0, 0, 2, 1] = np.nan
    centred = x.copy()
    centred[..., 1] = 0
    expected = np.square(forward(layers, stack.weights(), centred) - centred)[..., 0].mean()
    assert stack.validate(x, np.ones((1, 1), np.float32))[0] == pytest.approx(expected, rel=1e-5)


def test_a_warm_start_begins_where_the_last_training_ended() -> None:
    x = seasonal(3, T=200)
    spec = ModelSpec("fc", window=8, epochs=8)
    first, cold = fit(spec, x)
    _, warm = fit(spec, x, warm=first)
    assert not cold.warm
    assert warm.warm
    assert all(w.val_loss <= c.val_loss for w, c in zip(warm.rows, cold.rows, strict=True))
    other, changed = fit(ModelSpec("cnn", window=8, epochs=1), x, warm=first)
    assert not changed.warm
    assert isinstance(other, Autoencoder)


def test_a_warm_start_leaves_rows_without_a_previous_model_cold() -> None:
    x = seasonal(2, T=200)
    spec = ModelSpec("fc", window=8, epochs=2)
    first, _ = fit(spec, x)
    weights = {name: tensor.copy() for name, tensor in first.weights.items()}
    for tensor in weights.values():
        tensor[1] = np.nan
    previous = Autoencoder(first.layers, 8, 1, first.scaler, weights)
    second, _ = fit(spec, x, warm=previous)
    cold, _ = fit(spec, x)
    for name, tensor in second.weights.items():
        np.testing.assert_allclose(tensor[1], cold.weights[name][1], atol=1e-5)
        assert not np.allclose(tensor[0], cold.weights[name][0], atol=1e-5)


def test_dropout_acts_in_training_and_not_in_validation() -> None:
    layers = recipe("fc", 6, 1, dropout=0.5)
    stack = program(layers, 2, 6, 1)
    x = np.random.default_rng(1).normal(size=(2, 8, 6, 1)).astype(np.float32)
    one, none = np.ones((2, 8), np.float32), np.zeros(2, np.bool_)
    quiet = [stack.validate(x, one) for _ in range(2)]
    noisy = [stack.train(x, one, none, 0) for _ in range(2)]
    np.testing.assert_array_equal(quiet[0], quiet[1])
    assert not np.allclose(noisy[0], noisy[1])


def test_progress_tells_epochs_and_rows_still_learning() -> None:
    from anomaly_models.keras_training import KerasLearner, Progress

    seen: list[Progress] = []
    learner = KerasLearner(ModelSpec("fc", window=8, epochs=3), seen.append)
    learner.fit(*cut(seasonal(2, T=200), 8), None, None, 0)
    assert [p.epoch for p in seen] == [1, 2, 3]
    assert [p.live for p in seen] == [2, 2, 0]
    assert all(p.rows == 2 and p.epochs == 3 and p.val_loss > 0 and p.train_loss > 0 for p in seen)


def test_an_epoch_is_the_largest_power_of_two_steps_within_a_pass() -> None:
    from anomaly_models.keras_training.sampling import steps_per_epoch

    assert [steps_per_epoch(n, 64) for n in (0, 1, 64, 127, 128, 255, 256, 1088, 4096)] == [1, 1, 1, 1, 2, 2, 4, 16, 64]


def test_a_stream_shows_every_window_once_per_pass() -> None:
    from anomaly_models.keras_training.sampling import Stream

    stream = Stream(np.arange(100, 110), 4096, seed=0)
    drawn = np.concatenate([stream.take(4) for _ in range(10)])
    assert all(sorted(drawn[i : i + 10]) == list(range(100, 110)) for i in range(0, 40, 10))
    assert not np.array_equal(drawn[:10], drawn[10:20])


def test_long_histories_are_thinned_evenly_and_differently_each_pass() -> None:
    from anomaly_models.keras_training.sampling import thin

    chosen: Sequence[npt.NDArray[np.int64]] = [thin(np.arange(1000), 64, turn) for turn in range(20)]
    for indices in chosen:
        assert indices.size == 64
        assert np.diff(indices).min() >= 15
        assert np.diff(indices).max() <= 16
        assert 0 <= indices[0] < 16
        assert indices[-1] < 1000
    assert np.unique(np.concatenate(chosen)).size > 900
    np.testing.assert_array_equal(thin(np.arange(64), 64, 3), np.arange(64))
