"""Recipes are what their names say; the scorer's errors, bands and storage keep their promises."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_models import autoencoder as module
from anomaly_models import windows
from anomaly_models.autoencoder import INPUT_BOUND, RECIPES, Autoencoder, Widths, recipe
from anomaly_models.exceptions import InvalidShapeError, PackRejectedError
from anomaly_models.frame import Scorer, Windows
from anomaly_models.layers import GRU, LSTM, MAX_WEIGHTS, Conv1D, Dense, parameters, shapes
from anomaly_models.scaling import Scaler
from support.stock_keras import random_weights


def model(name: str = "fc", *, S: int = 2, W: int = 6, F: int = 2, tail: int = 1, seed: int = 0) -> Autoencoder:
    rng = np.random.default_rng(seed)
    layers = recipe(name, W, F)
    scaler = Scaler(rng.normal(50, 10, (S, F)).astype(np.float32), rng.uniform(0.5, 4, (S, F)).astype(np.float32))
    return Autoencoder(layers, W, tail, scaler, random_weights(layers, W, F, S, seed))


def series(S: int, T: int, F: int, seed: int = 1) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(50, 10, (T, S, F)).astype(np.float32)


def all_windows(x: npt.NDArray[np.float32], W: int, valid: npt.NDArray[np.bool_] | None = None) -> Windows:
    return windows.make(x, np.isfinite(x) if valid is None else valid, 0, 60, W)


KINDS = {
    "fc": {Dense},
    "cnn": {Conv1D},
    "lstm": {LSTM, Dense},
    "gru": {GRU, Dense},
    "cnn_lstm": {Conv1D, LSTM, Dense},
    "cnn_gru": {Conv1D, GRU, Dense},
}


@pytest.mark.parametrize("window", [2, 8, 24, 48])
@pytest.mark.parametrize("features", [1, 2, 38])
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_learns_with_exactly_the_layers_in_its_name(name: str, features: int, window: int) -> None:
    learned = {type(layer) for layer in recipe(name, window, features) if layer.weights((window, features))}
    assert learned == KINDS[name]


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_stay_small(name: str) -> None:
    assert 4_000 <= parameters(recipe(name, 48, 1), 48, 1) <= 16_000
    assert parameters(recipe(name, 8, 38), 8, 38) <= 200_000


@pytest.mark.parametrize("features", [1, 38])
@pytest.mark.parametrize("window", [2, 7, 24])
@pytest.mark.parametrize("name", RECIPES)
def test_widths_that_are_asked_for_are_the_widths_of_the_layers(name: str, window: int, features: int) -> None:
    layers = recipe(name, window, features, widths=Widths(filters=20, kernel=2, units=30, code=2))
    convolutions = [x for x in layers if isinstance(x, Conv1D)]
    inner = [x for x in convolutions[:-1] if x.kernel > 1]
    assert {x.filters for x in inner} <= {20, 30, 40}
    assert {x.kernel for x in convolutions} <= {1, 2}
    assert {x.units for x in layers if isinstance(x, LSTM | GRU)} <= {30}
    code = max(min(2, window * features // 3), 1)
    dense = {x.units for x in layers if isinstance(x, Dense)}
    assert dense <= {30, code, features, window * features}
    assert name == "cnn" or code in dense
    assert shapes(layers, window, features)[-1].after == (window, features)


@pytest.mark.parametrize("name", RECIPES)
def test_a_code_never_gets_wider_than_a_third_of_the_window(name: str) -> None:
    assert recipe(name, 6, 1, widths=Widths(code=500)) == recipe(name, 6, 1, widths=Widths(code=2))


def test_an_unknown_recipe_or_a_window_of_one_is_refused() -> None:
    with pytest.raises(InvalidShapeError, match="recipe must be one of"):
        recipe("transformer", 8, 1)
    with pytest.raises(InvalidShapeError, match="window >= 2"):
        recipe("fc", 1, 1)
    with pytest.raises(InvalidShapeError, match=f"at most {MAX_WEIGHTS}"):
        recipe("fc", 1440, 38)


def test_an_autoencoder_is_a_scorer() -> None:
    assert isinstance(model(), Scorer)
    assert model().kind == "autoencoder"


def test_the_error_is_the_mean_distance_of_the_tail_in_scaler_units() -> None:
    m = model(tail=3)
    w = all_windows(series(2, 20, 2), 6)
    said = m.infer(w)
    distance = np.abs(w.x - m.reconstruct(w.x))[:, :, -3:] / m.scale[:, None, None, :]
    np.testing.assert_allclose(said.feature_error, distance.mean(axis=2), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(said.error, distance.mean(axis=(2, 3)), rtol=1e-3, atol=1e-4)
    assert said.expected is not None
    np.testing.assert_allclose(said.expected, m.reconstruct(w.x)[:, :, -1], rtol=1e-5)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.05, 20), st.integers(0, 1000))
def test_one_feature_scores_one_exactly_when_it_leaves_its_band(threshold: float, seed: int) -> None:
    m = model(F=1, seed=seed)
    w = all_windows(series(2, 12, 1, seed), 6)
    said = m.infer(w)
    assert said.expected is not None
    outside = np.abs(w.x[:, :, -1] - said.expected)[..., 0] - threshold * m.scale
    clear = np.abs(outside) > 1e-3
    assert (((said.error >= threshold) == (outside >= 0)) | ~clear).all()


def test_a_huge_observation_gets_a_huge_error_but_hardly_moves_the_expectation() -> None:
    m = model(S=1, F=1)
    x = series(1, 6, 1)
    errors, expectations = [], []
    for size in (1e3, 1e6, 1e9):
        x[-1] = size
        said = m.infer(all_windows(x, 6))
        assert said.expected is not None
        errors.append(float(said.error[0, 0]))
        expectations.append(float(said.expected[0, 0, 0]))
    assert errors[2] > 100 * errors[1] > 10_000 * errors[0] / 2 > 0
    assert np.ptp(expectations) < 1e-3
    assert INPUT_BOUND * float(m.scale[0, 0]) < 1e3


def test_a_feature_with_a_gap_contributes_nothing_and_changes_nothing_but_itself() -> None:
    m = model(S=1)
    x = series(1, 6, 2)
    x[2, 0, 1] = np.nan
    said = m.infer(all_windows(x, 6))
    centred = x.copy()
    centred[:, 0, 1] = m.scaler.center[0, 1]
    as_centre = m.infer(all_windows(centred, 6))
    assert said.expected is not None
    assert np.isnan(said.feature_error[0, 0, 1])
    assert np.isnan(said.expected[0, 0, 1])
    np.testing.assert_allclose(said.error, as_centre.feature_error[:, :, 0], rtol=1e-5)
    assert said.error[0, 0] == said.feature_error[0, 0, 0]


def test_windows_that_cannot_be_scored_say_nothing() -> None:
    m = model(S=1)
    x = series(1, 12, 2)
    x[4] = np.nan  # a gap too long to bridge: in every window that ends at rows 5..9
    valid = np.isfinite(x)
    valid[11] = False  # the newest sample was carried over a gap
    said = m.infer(all_windows(x, 6, valid))
    assert said.expected is not None
    silent = [True] * 5 + [False, True]
    assert np.isnan(said.error[0]).tolist() == silent
    assert np.isnan(said.feature_error[0, :, 1]).tolist() == silent
    assert np.isnan(said.expected[0, :, 0]).tolist() == silent


def test_a_constant_series_gets_a_finite_score() -> None:
    m = model(F=1)
    assert np.isfinite(m.infer(all_windows(np.full((8, 2, 1), 7, np.float32), 6)).error).all()


@pytest.mark.parametrize("name", RECIPES)
def test_rows_and_windows_are_scored_alike_in_any_company(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    m = model(name, S=4)
    w = all_windows(series(4, 30, 2), 6)
    said = m.infer(w)
    part = m.take([2, 0]).infer(Windows(w.x[[2, 0]], w.valid[[2, 0]], w.end[[2, 0]]))
    np.testing.assert_allclose(part.error, said.error[[2, 0]], atol=1e-5)
    newest = m.infer(Windows(w.x[:, -1:], w.valid[:, -1:], w.end[:, -1:]))
    np.testing.assert_allclose(newest.error, said.error[:, -1:], atol=1e-5)
    monkeypatch.setattr(module, "CHUNK_FLOATS", 1)
    np.testing.assert_allclose(m.infer(w).error, said.error, atol=1e-5)


def test_evaluating_many_windows_of_many_features_stays_small() -> None:
    m = model(S=1, W=48, F=38, name="gru")
    w = all_windows(series(1, 1_500, 38), 48)
    tracemalloc.start()
    try:
        m.infer(w)
        assert tracemalloc.get_traced_memory()[1] < 150 << 20
    finally:
        tracemalloc.stop()


def test_windows_of_another_shape_are_refused() -> None:
    with pytest.raises(InvalidShapeError, match=r"score windows \[2, B, 6, 2\]"):
        model().infer(all_windows(series(2, 10, 2), 5))


@pytest.mark.parametrize("name", RECIPES)
def test_a_restored_stack_scores_as_before(name: str) -> None:
    m = model(name)
    spec = json.loads(json.dumps(m.spec()))
    back = Autoencoder.restore(spec, m.tensors())
    w = all_windows(series(2, 12, 2), 6)
    np.testing.assert_array_equal(back.infer(w).error, m.infer(w).error)
    assert all(t.dtype == np.float32 and t.shape[0] == 2 for t in m.tensors().values())


@pytest.mark.parametrize(
    "change",
    [
        {"window": 7},
        {"window": True},
        {"window": 0},
        {"features": 10**9},
        {"tail": 7},
        {"tail": "1"},
        {"layers": [{"type": "flatten"}]},
        {"layers": "fc"},
        {"extra": 1},
    ],
    ids=str,
)
def test_a_stored_specification_that_does_not_hold_together_is_rejected(change: dict[str, object]) -> None:
    m = model()
    with pytest.raises(PackRejectedError):
        Autoencoder.restore({**m.spec(), **change}, m.tensors())


def test_stored_tensors_that_do_not_fit_are_rejected() -> None:
    m = model()
    tensors = m.tensors()
    bad: list[dict[str, npt.NDArray[np.float32]]] = [
        {k: v for k, v in tensors.items() if k != "scale"},
        {k: v for k, v in tensors.items() if k != "layer01_bias"},
        {**tensors, "layer99_kernel": tensors["layer01_bias"]},
        {**tensors, "layer01_bias": tensors["layer01_bias"][:1]},
        {**tensors, "scale": tensors["scale"] * 0},
        {**tensors, "center": tensors["center"] * np.float32(np.nan)},
        {**tensors, "center": tensors["center"][:1]},
        {**tensors, "center": tensors["center"][0]},
    ]
    for broken in bad:
        with pytest.raises(PackRejectedError):
            Autoencoder.restore(m.spec(), broken)


def test_scoring_never_imports_tensorflow() -> None:
    code = "import sys, anomaly_models.autoencoder; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
