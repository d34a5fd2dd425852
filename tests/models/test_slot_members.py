"""Promises of the simple members that know the time of the day."""

from __future__ import annotations

import numpy as np
import pytest

from anomaly_models import pack, scorers, windows
from anomaly_models.exceptions import InvalidShapeError, PackRejectedError
from anomaly_models.frame import F32, Scorer, Windows
from anomaly_models.model_spec import ModelSpec
from anomaly_models.pack import Pack

STEP = 600
DAY = 144
KINDS = ("difference", "level", "band")


def wave(days: int, series: int = 1, features: int = 1) -> F32:
    rng = np.random.default_rng(0)
    daily = 10 + 3 * np.sin(2 * np.pi * np.arange(days * DAY) / DAY)
    return (daily[:, None, None] + 0.1 * rng.normal(size=(days * DAY, series, features))).astype(np.float32)


def over(values: F32, window: int) -> Windows:
    return windows.make(values, np.isfinite(values), 0, STEP, window)


def fitted(kind: str, values: F32, window: int = 13, tail: int = 1) -> Scorer:
    learner = scorers.simple_learner(ModelSpec(recipe=kind, window=window, tail=tail))
    w = over(values, window)
    return learner.fit(w, w, None, None, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_daily_wave_leaves_only_its_noise(kind: str) -> None:
    values = wave(8, 2, 3)
    scorer = fitted(kind, values)
    said = scorer.infer(over(values, scorer.window))
    assert scorer.scale.max() < 0.4
    assert np.nanquantile(said.error, 0.99) < 6
    assert said.expected is not None


@pytest.mark.parametrize(("kind", "jump", "settled"), [("difference", 5, 0), ("level", 5, 0), ("band", 5, 5)])
def test_a_new_level_is_an_anomaly_for_as_long_as_the_kind_says(kind: str, jump: float, settled: float) -> None:
    values = wave(8)
    scorer = fitted(kind, values)
    values[7 * DAY :] += jump
    said = scorer.infer(over(values, scorer.window))
    assert said.expected is not None
    off = np.abs(values[scorer.window - 1 :, 0, 0] - said.expected[0, :, 0])
    at = 7 * DAY - scorer.window + 1
    assert off[at] == pytest.approx(jump, abs=0.7)
    assert np.median(off[at + 20 : at + 100]) == pytest.approx(settled, abs=0.7)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tail", [1, 3])
def test_a_pack_gives_back_the_same_member(kind: str, tail: int) -> None:
    values = wave(3, 2, 2)
    scorer = fitted(kind, values, tail=tail)
    encoded = pack.encode(Pack(scorer.kind, scorer.spec(), scorer.tensors(), ({}, {})))
    stored = pack.decode(encoded.digest, encoded.files[pack.MANIFEST], lambda file, _: encoded.files[file])
    again = scorers.restore(stored.kind, stored.spec, stored.tensors)
    w = over(values, scorer.window)
    np.testing.assert_array_equal(again.infer(w).error, scorer.infer(w).error)
    np.testing.assert_array_equal(again.take([1]).infer(over(values[:, 1:], 13)).error[0], scorer.infer(w).error[1])


@pytest.mark.parametrize("kind", KINDS)
def test_what_does_not_fit_is_refused(kind: str) -> None:
    values = wave(2)
    scorer = fitted(kind, values)
    with pytest.raises(InvalidShapeError, match="score windows"):
        scorer.infer(over(values, 5))
    with pytest.raises(PackRejectedError, match="lower"):
        scorers.restore(kind, scorer.spec(), {n: t for n, t in scorer.tensors().items() if n != "lower"})
    with pytest.raises(PackRejectedError, match="slots"):
        scorers.restore(kind, {**scorer.spec(), "slots": 7}, scorer.tensors())
    with pytest.raises(InvalidShapeError, match="longer than the tail"):
        fitted(kind, values, window=1)


@pytest.mark.parametrize("kind", KINDS)
def test_gaps_and_missing_features_are_never_judged(kind: str) -> None:
    values = wave(4, 1, 2)
    values[3 * DAY : 3 * DAY + 5, 0, 0] = np.nan
    values[:, 0, 1] = np.nan
    scorer = fitted(kind, values)
    said = scorer.infer(over(values, scorer.window))
    assert np.isnan(said.feature_error[0, :, 1]).all()
    at = 3 * DAY - scorer.window + 1
    assert np.isnan(said.error[0, at : at + 5 + scorer.window - 1]).all()
    assert np.isfinite(said.error[0, at + 5 + scorer.window - 1 :]).all()
