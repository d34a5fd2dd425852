"""A model that many series share says what a model of their own with the same weights would say, soon and carefully."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_models import scorers, sharing, windows
from anomaly_models.autoencoder import RECIPES, Autoencoder, recipe
from anomaly_models.exceptions import InvalidShapeError, PackRejectedError, UntrainableError
from anomaly_models.frame import F32, Scorer, Windows
from anomaly_models.layers import weight_shapes
from anomaly_models.model_spec import ModelSpec
from anomaly_models.pca import PcaLearner
from anomaly_models.scaling import UNSEEN, Scaler
from anomaly_models.seasonal import SeasonalLearner
from anomaly_models.sharing import LADDER, YOUNGEST, Beginning, Prior, Rules, Shared, Walks, for_series, identity
from anomaly_models.zscore import ZScore

WINDOW = 12


def _autoencoder(name: str, features: int = 1) -> Autoencoder:
    layers, rng = recipe(name, WINDOW, features), np.random.default_rng(3)
    weights = {
        key: rng.normal(0, 0.1, (1, *shape)).astype(np.float32)
        for key, shape in weight_shapes(layers, WINDOW, features).items()
    }
    return Autoencoder(layers, WINDOW, 1, identity(features), weights)


def rules(relative: tuple[float, ...] = (math.nan,)) -> Rules:
    return Rules("robust", 1e-6, 0.0, relative)


def _series(features: int = 1, rows: int = 60) -> tuple[F32, Scaler]:
    """Three series of very different levels, [T, N, F], and their scales."""
    rng = np.random.default_rng(1)
    center = np.array([[0.5], [300.0], [4e9]], np.float32).repeat(features, axis=1)
    scale = np.array([[0.01], [20.0], [1e8]], np.float32).repeat(features, axis=1)
    return (center + scale * rng.normal(size=(rows, 3, features))).astype(np.float32), Scaler(center, scale)


def _windows(x: F32, window: int = WINDOW) -> Windows:
    return windows.make(x, np.isfinite(x), 0, 60, window)


def _pca() -> Scorer:
    x, scaler = _series()
    units = _windows(((x - scaler.center) / scaler.scale).astype(np.float32))
    model = ModelSpec("pca", window=WINDOW)
    return PcaLearner(model, identity(1, 3)).fit(units, units, None, None, 0).take([0])


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("features", [1, 5])
def test_a_shared_model_says_of_a_series_what_its_own_with_these_weights_would(name: str, features: int) -> None:
    base = _autoencoder(name, features)
    x, scaler = _series(features)
    x[20, 1] = np.nan
    x[40:, 0, 0] *= 3
    said, own = Shared(base, scaler).infer(_windows(x)), for_series(base, scaler).infer(_windows(x))
    np.testing.assert_allclose(said.error, own.error, rtol=1e-4, atol=2e-5)
    np.testing.assert_allclose(said.feature_error, own.feature_error, rtol=1e-4, atol=2e-5)
    assert said.expected is not None
    assert own.expected is not None
    np.testing.assert_allclose(said.expected / scaler.scale[:, None], own.expected / scaler.scale[:, None], atol=1e-4)


@pytest.mark.parametrize("base", [_pca(), ZScore(2, 1, identity(1))], ids=["pca", "zscore"])
def test_members_that_know_a_series_by_its_scale_are_shared_too(base: Scorer) -> None:
    x, scaler = _series()
    w = _windows(x, base.window)
    own = for_series(base, scaler)
    np.testing.assert_allclose(Shared(base, scaler).infer(w).error, own.infer(w).error, rtol=1e-4, atol=2e-5)
    assert own.kind == base.kind


def test_a_shared_model_is_stored_as_a_stack_of_models_of_their_own() -> None:
    base = _autoencoder("fc")
    x, scaler = _series()
    shared = Shared(base, scaler)
    restored = scorers.restore(shared.kind, shared.spec(), shared.tensors())
    np.testing.assert_allclose(restored.infer(_windows(x)).error, shared.infer(_windows(x)).error, rtol=1e-4, atol=2e-5)
    picked = shared.take([2, 0])
    every = shared.infer(_windows(x)).error
    np.testing.assert_allclose(picked.infer(_windows(x[:, [2, 0]])).error, every[[2, 0]], rtol=1e-4, atol=2e-5)


def test_a_feature_without_a_scale_does_not_count() -> None:
    base = _autoencoder("fc", 2)
    x, scaler = _series(2)
    scale = scaler.scale.copy()
    scale[1, 1] = UNSEEN
    said = Shared(base, Scaler(scaler.center, scale)).infer(_windows(x))
    assert np.isnan(said.feature_error[1, :, 1]).all()
    assert np.isfinite(said.feature_error[1, :, 0]).all()


def test_what_cannot_be_shared_is_refused() -> None:
    x, scaler = _series()
    seasonal = SeasonalLearner(ModelSpec("seasonal", window=2)).fit(_windows(x, 2), _windows(x, 2), None, None, 0)
    with pytest.raises(InvalidShapeError, match="one row of autoencoder, pca, zscore"):
        Shared(seasonal.take([0]), scaler)
    with pytest.raises(InvalidShapeError, match="received 3 rows"):
        Shared(for_series(_autoencoder("fc"), scaler), scaler)
    with pytest.raises(InvalidShapeError, match=r"\[S, F\] = \(3, 1\)"):
        Shared(_autoencoder("fc"), scaler).infer(_windows(x[:, :2]))


def test_a_scale_is_taken_from_the_samples_of_the_last_step_of_the_ladder() -> None:
    ages = np.array([0, YOUNGEST - 1, YOUNGEST, 11, 12, 200, 10_000])
    assert sharing.learned(ages).tolist() == [0, 0, 8, 8, 12, 192, 192]
    assert sorted(LADDER) == list(LADDER)


def test_few_samples_lean_on_the_fleet_and_many_on_themselves() -> None:
    rng = np.random.default_rng(0)
    x = (100 + 0.5 * rng.normal(size=(1, 2000, 1))).astype(np.float32)
    # The fleet's scales are 5 % of the level, this series' is 0.5 %.
    few = sharing.scale_of(x[:, :8], rules(relative=(0.05,))).scale[0, 0]
    many = sharing.scale_of(x, rules(relative=(0.05,))).scale[0, 0]
    assert 1.5 < few < 5.0
    assert many == pytest.approx(0.5, rel=0.1)


def test_a_series_that_rested_so_far_has_the_scale_of_the_fleet() -> None:
    rested = np.full((1, 10, 1), 40, np.float32)
    assert sharing.scale_of(rested, rules(relative=(0.1,))).scale[0, 0] == pytest.approx(4.0)


@pytest.mark.parametrize(("value", "relative"), [(0.0, 0.1), (40.0, math.nan), (math.nan, 0.1)])
def test_a_series_that_tells_nothing_of_its_scale_does_not_count(value: float, relative: float) -> None:
    rested = np.full((1, 10, 1), value, np.float32)
    assert sharing.scale_of(rested, rules(relative=(relative,))).scale[0, 0] == UNSEEN


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=30),
    st.sampled_from(["robust", "standard", "min_max"]),
    st.one_of(st.just(float("nan")), st.floats(0, 10)),
)
def test_a_scale_of_any_samples_is_positive_finite_and_not_below_its_minimum(
    values: list[float], kind: str, relative: float
) -> None:
    made = sharing.scale_of(np.array(values, np.float32)[None, :, None], Rules(kind, 1e-3, 0.01, (relative,)))  # type: ignore[arg-type]
    assert np.isfinite(made.center).all()
    assert np.isfinite(made.scale).all()
    assert made.scale[0, 0] >= np.float32(max(1e-3, 0.01 * abs(made.center[0, 0]))) * np.float32(1 - 1e-6)


def test_a_window_is_filled_before_the_birth_and_nowhere_else() -> None:
    x = np.array([[np.nan, np.nan], [1, np.nan], [np.nan, 2]], np.float32)[:, :, None]
    out = sharing.padded(x, np.array([1, 2]), np.array([[7.0], [8.0]], np.float32))
    np.testing.assert_array_equal(out[:, :, 0], np.array([[7, 8], [1, 8], [np.nan, 2]], np.float32))


def test_confidence_grows_with_the_root_of_history_up_to_a_week() -> None:
    day = 86_400
    assert sharing.confidence([0, 7 * day / 4, 7 * day, 70 * day]).tolist() == [0, 0.5, 1, 1]
    grown = sharing.confidence(np.arange(0, 8 * day, 3600))
    assert (np.diff(grown) >= 0).all()


def _prior() -> Prior:
    rng = np.random.default_rng(5)
    level = np.array([1.0, 10, 100, 1000, 1e4, 1e5], np.float32)
    x = (level * (1 + 0.1 * rng.normal(size=(2000, 6)))).astype(np.float32)[:, :, None]
    scaler = Scaler(level[:, None], 0.1 * level[:, None])
    first, last = np.zeros(6, np.int64), np.full(6, 2000, np.int64)
    walks = Walks.of(x, np.isfinite(x), first, last)
    return sharing.measure(ZScore(2, 1, identity(1)), walks, scaler, ModelSpec("zscore", window=2), 3)


def test_what_a_fleet_is_like_is_measured() -> None:
    prior = _prior()
    assert prior.relative == (pytest.approx(0.1, rel=0.01),)
    assert (prior.series, prior.walks) == (6, 510)
    assert len(prior.thresholds) == len(prior.levels) == len(LADDER)
    assert all(1 < t < 10 for t in prior.thresholds)


def test_a_threshold_follows_the_series_own_errors_as_they_become_many() -> None:
    prior = _prior()
    begun = Beginning(identity(1, 3), np.array([9.0, 9.0, np.nan]), np.array([4, 10_000, 0]))
    at = prior.threshold(np.array([8, 192, 8]), begun)
    assert at[2] == pytest.approx(prior.widest)
    assert at[0] == pytest.approx(prior.thresholds[0] * math.sqrt(9 * prior.levels[0]))
    assert at[1] == pytest.approx(prior.thresholds[-1] * 9, rel=0.01)


def test_newcomers_of_the_same_fleet_stay_below_its_threshold() -> None:
    prior, rng = _prior(), np.random.default_rng(77)
    base, first = ZScore(2, 1, identity(1)), LADDER[0]
    x = (50 * (1 + 0.1 * rng.normal(size=(first + 4, 2000)))).astype(np.float32)[:, :, None]
    born, valid = np.zeros(2000, np.int64), np.isfinite(x)
    begun = sharing.begin(base, x[:first], valid[:first], born, prior.rules())
    assert (begun.count == first - 4).all()
    errors = sharing.errors_of(Shared(base, begun.scaler), x, valid, born, prior.rules())[first:]
    held = np.minimum(np.minimum(errors[:-2], errors[1:-1]), errors[2:]).max(axis=0)
    false = np.mean(held > prior.threshold(np.full(2000, first), begun))
    assert 0 < false < 0.02


def test_what_was_before_the_birth_of_a_series_plays_no_part() -> None:
    rng = np.random.default_rng(3)
    base = _autoencoder("fc")
    x = rng.normal(50, 5, (20, 2, 1)).astype(np.float32)
    other = x.copy()
    other[:8, 1] = 1e6
    born = np.array([0, 8])
    one, two = (sharing.begin(base, v, np.isfinite(v), born, rules(relative=(0.1,))) for v in (x, other))
    np.testing.assert_array_equal(one.scaler.scale, two.scaler.scale)
    np.testing.assert_array_equal(one.level, two.level)
    assert one.count.tolist() == [16, 8]


def test_a_walk_begins_at_a_sample_and_ends_with_its_series() -> None:
    x = np.arange(40, dtype=np.float32)[:, None, None].repeat(2, axis=1)
    x[:5, 1] = np.nan
    walks = Walks.of(x, np.isfinite(x), np.array([0, 0]), np.array([40, 30]), most=2)
    assert walks.x.shape == (256, 2, 1)
    assert (walks.x[0, 0, 0], walks.x[0, 1, 0]) == (0, 5)
    assert np.isfinite(walks.x[:, 1]).sum() == 25
    assert Walks.of(x[:8], np.isfinite(x[:8]), np.array([0, 0]), np.array([8, 8])).x.shape[1] == 0


def test_a_prior_of_nothing_is_refused() -> None:
    walks = Walks(np.full((256, 2, 1), np.nan, np.float32), np.zeros((256, 2, 1), np.bool_))
    with pytest.raises(UntrainableError, match="at least one beginning"):
        sharing.measure(ZScore(2, 1, identity(1)), walks, identity(1, 2), ModelSpec("zscore", window=2), 1)


def test_a_prior_is_read_back_as_it_was_written() -> None:
    prior = _prior()
    assert Prior.from_json(json.loads(json.dumps(prior.to_json())), 1) == prior


@pytest.mark.parametrize(
    "change",
    [
        {"thresholds": [1.0]},
        {"levels": [1.0]},
        {"levels": [-1.0] * len(LADDER)},
        {"thresholds": [float("nan")] * len(LADDER)},
        {"thresholds": [1e13] * len(LADDER)},
        {"relative": [1.0, 1.0]},
        {"relative": "x"},
        {"relative": []},
        {"scaler": "magic"},
        {"minimum_scale": 0},
        {"walks": 0},
        {"series": 1.5},
        {"spread": -1},
        {"surplus": 1},
    ],
)
def test_a_prior_that_breaks_a_cap_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(PackRejectedError):
        Prior.from_json({**_prior().to_json(), **change}, 1)
    with pytest.raises(PackRejectedError):
        Prior.from_json([], 1)


def test_the_ladder_and_the_walks_agree() -> None:
    prior = _prior()
    assert len(prior.thresholds) == len(LADDER)
    with pytest.raises(PackRejectedError):
        Prior.from_json(replace(prior, thresholds=prior.thresholds[1:]).to_json(), 1)
