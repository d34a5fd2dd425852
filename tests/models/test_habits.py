"""Promises of habits: learned from history alone, stored as JSON without loss, and training sees the new regime."""

from __future__ import annotations

import json

import numpy as np

from anomaly_models.cleaning import CleaningSpec
from anomaly_models.frame import Block, EntityKey
from anomaly_models.habits import Habits, learn
from anomaly_models.regime import RegimeSpec

STEP, DAY = 60, 1440
CLEAN = CleaningSpec()


def block(*series: np.ndarray) -> Block:
    values = np.stack(series, axis=1)[:, :, None].astype(np.float32)
    entities = tuple(EntityKey.of("t", {"container": f"c{n}"}) for n in range(len(series)))
    return Block(0, STEP, entities, ("value",), values)


def daily(days: int = 7) -> np.ndarray:
    t = np.arange(days * DAY)
    return 100 + 10 * np.sin(t / DAY * 2 * np.pi) + np.random.default_rng(0).normal(size=t.size)


def moved(rows: int) -> np.ndarray:
    x = daily()
    x[x.size - rows :] += 20
    return x


def test_habits_say_what_is_usual_how_it_grows_and_since_when() -> None:
    _, found = learn(block(daily(), daily() + np.arange(7 * DAY) / 60, moved(600)), CLEAN, RegimeSpec(), DAY)
    assert (found.limits.flat > 0).all()
    assert found.leak.ravel().tolist() == [False, True, False]
    assert np.isnan(found.regime[:2]).all()
    assert abs(found.regime[2] - STEP * (7 * DAY - 600)) <= 15 * STEP


def test_models_learn_the_new_level_first_with_moved_history_then_alone() -> None:
    young, _ = learn(block(moved(600)), CLEAN, RegimeSpec(), DAY)
    assert abs(float(young.values[:-700].mean()) - 120) < 2
    old, _ = learn(block(moved(2 * DAY)), CLEAN, RegimeSpec(), DAY)
    assert np.isnan(old.values[: 5 * DAY - 15]).all()
    assert np.isfinite(old.values[5 * DAY + 15 :]).all()


def test_without_regimes_history_is_what_it_is() -> None:
    given = block(moved(600))
    learned, found = learn(given, CLEAN, None, DAY)
    assert learned is given
    assert np.isnan(found.regime).all()


def test_impossible_values_teach_no_habits() -> None:
    x = daily()
    x[::100] = -1
    spec = CleaningSpec(ranges=((0.0, None),))
    _, clean = learn(block(daily()), spec, RegimeSpec(), DAY)
    _, found = learn(block(x), spec, RegimeSpec(), DAY)
    np.testing.assert_array_equal(found.limits.zero, clean.limits.zero)
    assert not found.leak.any()


def test_json_gives_habits_back_and_what_does_not_fit_is_unknown() -> None:
    _, found = learn(block(daily(), moved(600), np.full(7 * DAY, np.nan)), CLEAN, RegimeSpec(), DAY)
    rows = json.loads(json.dumps(found.to_json(), allow_nan=False))
    back = Habits.of_json([*rows, None, {"slope": [1.0]}], 1)
    for name in ("slope", "leak", "regime"):
        np.testing.assert_array_equal(getattr(back, name)[:3], getattr(found, name))
    np.testing.assert_array_equal(back.limits.flat[:3], found.limits.flat)
    assert back.limits.flat[3:].tolist() == [[0], [0]]
    assert np.isnan(back.slope[3:]).all()
    assert not back.leak[3:].any()
    assert np.isnan(Habits.of_json(rows, 2).slope).all(), "figures of another number of features"
