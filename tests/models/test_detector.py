"""Promises of the detector: one path for live and replay, absent where nothing honest can be said."""

from __future__ import annotations

import time
from dataclasses import dataclass, fields

import numpy as np
import pytest

from anomaly_models import cleaning, windows
from anomaly_models.alerting import AlertSpec, AlertState
from anomaly_models.detector import ABSORBED, Verdict, detect
from anomaly_models.exceptions import InvalidShapeError
from anomaly_models.frame import F32, Inference, Opinion, Windows
from anomaly_models.regime import RegimeSpec
from anomaly_models.scaling import Scaler
from anomaly_models.thresholds import Recent, ThresholdInputs, ThresholdSpec, ThresholdStack
from anomaly_models.zscore import ZScore
from support import alert_state as states

RNG = np.random.default_rng(0)
WINDOW = 4
STEP = 60
ALERTS = AlertSpec(persistence=2, clear_after=2, direction="up")
SPEC = ThresholdSpec()


def level(series: int, features: int, center: float = 10.0, scale: float = 2.0, window: int = WINDOW) -> ZScore:
    """Models that expect 10 +- 2 of everything."""
    shape = (series, features)
    return ZScore(window, 1, Scaler(np.full(shape, center, np.float32), np.full(shape, scale, np.float32)))


def thresholds(series: int, value: float = 1.5) -> ThresholdStack:
    """T = 1.5 now, with a past so that it moves."""
    return ThresholdStack.of([ThresholdInputs(Recent(0, value, 1.0), (Recent(-7200, value * 2, 1.0),))] * series)


def constant(series: int, value: float = 1.5) -> ThresholdStack:
    return ThresholdStack.of([ThresholdInputs(Recent(0, value, 0.0))] * series)


def over(values: np.ndarray, window: int = WINDOW, max_gap: int = 1) -> Windows:
    """Windows over bridged ``values`` [T, N, F]."""
    bridged, valid = cleaning.bridge(values.astype(np.float32), max_gap)
    return windows.make(bridged, valid, 0, STEP, window)


def noisy(series: int = 3, features: int = 2, rows: int = 60) -> np.ndarray:
    """Noise around 10 with gaps and an incident in the middle."""
    values = RNG.normal(10, 2, (rows, series, features))
    values[rows // 2 : rows // 2 + 8, 0] += 20
    values[RNG.random(values.shape) < 0.08] = np.nan
    return values


def arrays(verdict: Verdict) -> dict[str, np.ndarray]:
    skipped = ("parts", "state", "members", "member_names")
    return {f.name: getattr(verdict, f.name) for f in fields(Verdict) if f.name not in skipped}


def test_one_window_at_a_time_gives_what_all_at_once_gives() -> None:
    w = over(noisy())
    scorer, inputs = level(3, 2), thresholds(3)
    together = detect(scorer, w, inputs, SPEC, ALERTS)
    state = None
    for b in range(w.x.shape[1]):
        live = Windows(w.x[:, b : b + 1], w.valid[:, b : b + 1], w.end[:, b : b + 1])
        verdict = detect(scorer, live, inputs, SPEC, ALERTS, state=state)
        state = verdict.state
        for name, expected in arrays(together).items():
            np.testing.assert_array_equal(arrays(verdict)[name], expected[:, b : b + 1], err_msg=name)
        np.testing.assert_array_equal(verdict.parts.threshold, together.parts.threshold[:, b : b + 1])
    assert together.detected[0].any()
    assert not together.detected[1].any()


def test_the_score_is_one_exactly_where_one_feature_leaves_its_band() -> None:
    values = np.repeat(np.linspace(0, 20, 81), WINDOW).reshape(-1, 1, 1)
    verdict = detect(level(1, 1), over(values), constant(1), SPEC, ALERTS)
    outside = (verdict.observed < verdict.lower) | (verdict.observed > verdict.upper)
    border = np.isclose(verdict.score, 1.0, atol=1e-5)
    np.testing.assert_array_equal(outside[:, :, 0][~border], (verdict.score >= 1)[~border])
    assert outside.any()
    assert not outside.all()


def test_the_band_is_expectation_plus_minus_threshold_times_scale() -> None:
    verdict = detect(level(1, 1), over(np.full((4, 1, 1), 11.0)), constant(1, 1.5), SPEC, ALERTS)
    row = [getattr(verdict, n)[0, 0] for n in ("error", "threshold", "score")]
    assert row == pytest.approx([0.5, 1.5, 1 / 3])
    assert [getattr(verdict, n)[0, 0, 0] for n in ("observed", "expected", "lower", "upper")] == [11, 10, 7, 13]


def test_where_nothing_can_be_scored_everything_is_absent_and_nothing_detected() -> None:
    values = np.full((8, 1, 1), 99.0)
    values[5] = np.nan
    verdict = detect(level(1, 1), over(values, max_gap=0), constant(1), SPEC, AlertSpec(persistence=1))
    assert np.isfinite(verdict.score[0]).tolist() == [True, True, False, False, False]
    for name in ("error", "threshold", "score", "alerting"):
        assert np.isnan(getattr(verdict, name)[0, 2:]).all(), name
    for name in ("expected", "lower", "upper", "contribution"):
        assert np.isnan(getattr(verdict, name)[0, 2:]).all(), name
    assert verdict.detected[0].tolist() == [True, True, False, False, False]
    assert verdict.detected.dtype == np.bool_
    assert verdict.observed[0, 3, 0] == 99.0
    assert np.isfinite(verdict.parts.threshold).all()


def test_all_missing_is_no_error() -> None:
    verdict = detect(level(2, 3), over(np.full((6, 2, 3), np.nan)), constant(2), SPEC, ALERTS)
    assert np.isnan(verdict.score).all()
    assert not verdict.detected.any()


def test_a_bridged_newest_sample_is_not_judged_but_one_inside_is() -> None:
    values = np.full((6, 1, 1), 10.0)
    values[4] = np.nan
    assert np.isfinite(detect(level(1, 1), over(values), constant(1), SPEC, ALERTS).score).tolist() == [
        [True, False, True]
    ]


@pytest.mark.parametrize(("min_features", "scored"), [(2, True), (3, False)])
def test_min_features_holds_from_both_sides(min_features: int, scored: bool) -> None:
    values = np.full((4, 1, 3), 10.0)
    values[2, 0, 1] = np.nan
    verdict = detect(level(1, 3), over(values, max_gap=0), constant(1), SPEC, ALERTS, min_features)
    assert np.isfinite(verdict.score[0, 0]) == scored


def test_contributions_sum_to_one_over_the_features_that_count() -> None:
    values = np.full((4, 2, 3), 10.0)
    values[3, 0] = [12, 16, np.nan]
    verdict = detect(level(2, 3), over(values), constant(2), SPEC, ALERTS)
    np.testing.assert_allclose(verdict.contribution[0, 0], [0.25, 0.75, np.nan])
    np.testing.assert_allclose(verdict.contribution[1, 0], [1 / 3] * 3)


def test_contributions_of_38_features_sum_to_one() -> None:
    verdict = detect(level(2, 38), over(noisy(2, 38)), constant(2), SPEC, ALERTS)
    scored = np.isfinite(verdict.score)
    assert scored.any()
    np.testing.assert_allclose(np.nansum(verdict.contribution, axis=2)[scored], 1, rtol=1e-5)


@pytest.mark.parametrize(("series", "rows"), [(0, 6), (2, WINDOW - 1)])
def test_no_entities_and_no_windows_are_no_error(series: int, rows: int) -> None:
    verdict = detect(level(series, 1), over(np.ones((rows, series, 1))), constant(series), SPEC, ALERTS)
    assert verdict.score.shape == (series, max(rows - WINDOW + 1, 0))


def test_a_model_without_expectation_has_a_score_and_no_band() -> None:
    @dataclass(frozen=True)
    class Blind(ZScore):
        def infer(self, w: Windows) -> Inference:
            known = super().infer(w)
            return Inference(known.error, known.feature_error, None)

    known = level(1, 1)
    verdict = detect(
        Blind(known.window, known.tail, known.scaler), over(np.full((6, 1, 1), 0.0)), constant(1), SPEC, ALERTS
    )
    assert np.isnan(verdict.expected).all()
    assert np.isnan(verdict.upper).all()
    # Direction is "up" and the sample is down, but without an expectation nobody can tell.
    assert verdict.detected[0].tolist() == [False, True, True]


def test_a_feature_unseen_in_training_is_left_out() -> None:
    scorer = ZScore(WINDOW, 1, Scaler(np.zeros((1, 2), np.float32), np.array([[1.0, 1e30]], np.float32)))
    values = np.full((4, 1, 2), 1.0)
    values[:, :, 1] = 1e9
    verdict = detect(scorer, over(values), constant(1), SPEC, ALERTS)
    assert verdict.error.tolist() == [[1.0]]
    np.testing.assert_array_equal(verdict.contribution[0, 0], [1, np.nan])


def test_the_threshold_moves_with_the_data_time_of_each_window() -> None:
    verdict = detect(level(1, 1), over(np.full((500, 1, 1), 10.0)), thresholds(1), SPEC, ALERTS)
    assert (np.diff(verdict.threshold[0]) < 0).all()


def test_a_given_state_is_not_changed() -> None:
    state = AlertState.fresh(1, ALERTS)
    before = states.arrays(state)
    detect(level(1, 1), over(np.full((6, 1, 1), 99.0)), constant(1), SPEC, ALERTS, state=state)
    for name, value in before.items():
        np.testing.assert_array_equal(states.arrays(state)[name], value)


@pytest.mark.parametrize(("series", "window"), [(2, WINDOW), (1, WINDOW + 1)])
def test_parts_that_do_not_fit_are_refused(series: int, window: int) -> None:
    with pytest.raises(InvalidShapeError, match="threshold inputs"):
        detect(level(1, 1, window=window), over(np.ones((9, 1, 1))), constant(series), SPEC, ALERTS)


def test_ten_thousand_live_entities_cost_a_few_milliseconds_beyond_their_models() -> None:
    S = 10_000
    values: F32 = RNG.normal(10, 2, (WINDOW, S, 1)).astype(np.float32)
    w, scorer, inputs, state = over(values), level(S, 1), thresholds(S), None
    spent = []
    for _ in range(7):
        began = time.perf_counter()
        scorer.infer(w)
        between = time.perf_counter()
        state = detect(scorer, w, inputs, SPEC, ALERTS, state=state).state
        spent.append(time.perf_counter() - between - (between - began))
    assert min(spent) < 0.025  # about 0.002 s on one core; the rest is room for a busy machine


@dataclass(frozen=True)
class Opinionated:
    """A scorer whose opinion of the newest sample is the sample itself, in decades of rarity."""

    window: int = WINDOW
    kind: str = "opinionated"

    @property
    def scale(self) -> F32:
        return np.ones((1, 1), np.float32)

    def infer(self, w: Windows) -> Inference:
        rarity = w.x[:, :, -1, 0]
        opinion = Opinion(rarity, rarity[:, :, None], ("only",), rarity[:, :, None])
        return Inference(np.abs(rarity), np.abs(rarity)[:, :, None], None, opinion)


def test_an_ensembles_score_in_a_new_regime_stays_just_under_an_alert_until_training_knows_it() -> None:
    """The alert ends, and the series is still told from one that does nothing unusual."""
    spec = AlertSpec(persistence=1, clear_after=1, regime=RegimeSpec(after=20))
    values = np.full((120, 1, 1), -2.0)
    values[60:] = 1.0 + RNG.normal(0, 0.02, (60, 1, 1))
    verdict = detect(Opinionated(), over(values), constant(1), SPEC, spec)
    moved = verdict.provisional[0] > 1
    assert moved[-1]
    assert not verdict.detected[0, -1]
    assert np.all(verdict.score[0, moved] == ABSORBED)
    assert np.all(verdict.alerting[0, moved] == ABSORBED)
    assert np.all(verdict.score[0, :50] < 0.5)
    assert verdict.score[0, 60 - WINDOW + 1] > 1
