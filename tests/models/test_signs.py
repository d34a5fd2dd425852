"""Promises of signs: what the detector does with what is known beside the scores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anomaly_models import windows
from anomaly_models.alerting import AlertSpec
from anomaly_models.detector import Verdict, detect
from anomaly_models.exceptions import InvalidShapeError
from anomaly_models.frame import Windows
from anomaly_models.regime import RegimeSpec
from anomaly_models.scaling import Scaler
from anomaly_models.signs import Signs
from anomaly_models.stillness import Still
from anomaly_models.thresholds import Recent, ThresholdInputs, ThresholdSpec, ThresholdStack
from anomaly_models.zscore import ZScore

WINDOW, STEP, ROWS = 2, 60, 200
REGIME = RegimeSpec(after=12, extreme=4, longest=60)
SPEC = AlertSpec(persistence=1, clear_after=1)
MODEL = ZScore(WINDOW, 1, Scaler(np.full((1, 1), 10, np.float32), np.full((1, 1), 1, np.float32)))
THRESHOLD = ThresholdStack.of([ThresholdInputs(Recent(0, 2.0, 0.0))])


def over(values: np.ndarray) -> Windows:
    x = values.astype(np.float32)[:, None, None]
    return windows.make(x, np.isfinite(x), 0, STEP, WINDOW)


def signs(steps: int, **flags: np.ndarray) -> Signs:
    """Nothing is known but what is given, [steps]."""
    no = np.zeros((1, steps), np.bool_)
    given = {name: flag[None] for name, flag in flags.items()}
    still = Still(given.get("flat", no), given.get("zero", no))
    return Signs(still, given.get("bounded", no), given.get("restarted", no))


def judge(values: np.ndarray, known: Signs | None = None, spec: AlertSpec = SPEC) -> Verdict:
    return detect(MODEL, over(values), THRESHOLD, ThresholdSpec(), spec, signs=known)


def picture(verdict: Verdict) -> str:
    return "".join("#" if d else "." for d in verdict.detected[0])


def test_what_stands_still_is_detected_though_the_model_knows_it_well() -> None:
    flat = np.arange(9) >= 4
    verdict = judge(np.full(10, 10.0), signs(9, flat=flat))
    assert verdict.score[0].tolist() == [0] * 4 + [1] * 5
    assert picture(verdict) == "....#####"
    assert (verdict.error == 0).all()


def test_a_fall_to_zero_is_no_news_where_only_the_way_up_is_and_a_flat_line_is() -> None:
    up, on = replace(SPEC, direction="up", minimum_deviation=5), np.ones(9, np.bool_)
    assert picture(judge(np.full(10, 10.0), signs(9, zero=on), up)) == "." * 9
    assert picture(judge(np.full(10, 10.0), signs(9, zero=on), replace(up, direction="both"))) == "#" * 9
    assert picture(judge(np.full(10, 10.0), signs(9, flat=on), up)) == "#" * 9


def test_a_sign_never_lowers_a_score_and_never_makes_one() -> None:
    values = np.array([10, 10, 16, np.nan, 10, 10.0])
    verdict = judge(values, signs(5, flat=np.ones(5, np.bool_)))
    np.testing.assert_array_equal(verdict.score[0], [1, 3, np.nan, np.nan, 1])


def test_a_new_level_is_judged_by_its_own_threshold_and_says_since_when() -> None:
    values = np.concatenate([np.full(100, 10.0), np.full(100, 15.0)])
    values += 0.05 * np.random.default_rng(0).normal(size=ROWS)
    verdict = judge(values, None, replace(SPEC, regime=REGIME))
    assert picture(verdict)[99:111] == "#" * 11 + "."
    assert not verdict.detected[0, 111:].any()
    assert verdict.provisional[0, 98] == 1
    np.testing.assert_allclose(verdict.score, verdict.error / verdict.threshold, rtol=1e-5)
    assert verdict.threshold[0, -1] == pytest.approx(2 * verdict.provisional[0, -1])
    assert verdict.regime_since[0, 98] == 0
    assert (verdict.regime_since[0, 111:] == 100 * STEP).all()
    off = judge(values)
    assert off.detected[0, 99:].all()
    assert (off.provisional == 1).all()


@pytest.mark.parametrize("why", ["flat", "zero", "bounded"])
def test_what_is_barred_keeps_alerting(why: str) -> None:
    values = np.concatenate([np.full(100, 10.0), np.full(100, 15.0)])
    known = signs(ROWS - 1, **{why: np.ones(ROWS - 1, np.bool_)})
    assert judge(values, known, replace(SPEC, regime=REGIME)).detected[0, 99:].all()


def test_restarts_hold() -> None:
    values = np.concatenate([np.full(5, 10.0), np.full(6, 15.0)])
    restarted = np.arange(10) == 4
    spec = replace(SPEC, hold_after_restart=3)
    assert picture(judge(values, signs(10, restarted=restarted), spec)) == "." * 7 + "###"


def test_one_window_at_a_time_gives_what_all_at_once_gives() -> None:
    rng = np.random.default_rng(2)
    values = np.concatenate([np.full(60, 10.0), np.full(60, 15.0)]) + 0.1 * rng.normal(size=120)
    values[rng.random(120) < 0.05] = np.nan
    names = ("flat", "zero", "bounded", "restarted")
    known = signs(119, **{name: rng.random(119) < 0.03 for name in names})
    spec = replace(SPEC, regime=REGIME, hold_after_restart=4, persistence=2)
    whole, state, w = judge(values, known, spec), None, over(values)
    for i in range(119):
        at = slice(i, i + 1)
        part = Windows(w.x[:, at], w.valid[:, at], w.end[:, at])
        still = Still(known.still.flat[:, at], known.still.zero[:, at])
        one = Signs(still, known.bounded[:, at], known.restarted[:, at])
        said = detect(MODEL, part, THRESHOLD, ThresholdSpec(), spec, state=state, signs=one)
        state = said.state
        for name in ("score", "threshold", "alerting", "detected", "provisional", "regime_since"):
            np.testing.assert_array_equal(getattr(said, name)[:, 0], getattr(whole, name)[:, i], err_msg=name)


def test_flags_of_other_shapes_are_refused() -> None:
    no = np.zeros((1, 3), np.bool_)
    with pytest.raises(InvalidShapeError, match="one shape"):
        Signs(Still(no, no), no[:, :2], no)
    assert not Signs.none(2, 3).barred.any()
