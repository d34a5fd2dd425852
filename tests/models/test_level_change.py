"""Promises of the change of level in history: the newest that lasts is found, incidents and habits are none."""

from __future__ import annotations

import numpy as np
import pytest

from anomaly_models.level_change import Change, apply, newest
from anomaly_models.regime import RegimeSpec

STEP = 60
DAY = 1440
SPEC = RegimeSpec()


def daily(days: float, seed: int = 0) -> np.ndarray:
    """A daily cycle of 10 % with noise around 100."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(days * DAY))
    return 100 + 10 * np.sin(t / DAY * 2 * np.pi + rng.uniform(0, 6)) + rng.normal(size=t.size)


def ago(x: np.ndarray) -> int:
    """How many rows ago the newest regime began, 0 = always the same."""
    row = int(newest(x.astype(np.float32)[:, None, None], 0, STEP, SPEC).row[0])
    return 0 if row < 0 else x.size - row


def since(x: np.ndarray, rows: int, **change: float) -> np.ndarray:
    """``x`` with its newest ``rows`` shifted by ``plus`` and multiplied by ``times``."""
    out = x.copy()
    out[x.size - rows :] = out[x.size - rows :] * change.get("times", 1) + change.get("plus", 0)
    return out


@pytest.mark.parametrize("rows", [180, 600, 2160])
@pytest.mark.parametrize("days", [7, 14])
def test_a_lasting_step_is_found_where_it_began(days: int, rows: int) -> None:
    found = [ago(since(daily(days, seed), rows, plus=15)) for seed in range(5)]
    assert sum(abs(f - rows) <= 15 for f in found) >= 4


def test_of_several_the_newest_is_found() -> None:
    moved = since(daily(10), 4 * DAY, plus=30)
    assert abs(ago(moved) - 4 * DAY) <= 15
    assert abs(ago(since(moved, 600, plus=30)) - 600) <= 15
    assert ago(since(moved, 600, plus=-30)) == 0, "back at a level that was usual"


def test_a_far_level_must_last_longer_than_a_near_one() -> None:
    assert ago(since(daily(7), 90, times=4)) == 0
    assert abs(ago(since(daily(7), 700, times=4)) - 700) <= 15


@pytest.mark.parametrize("seed", range(5))
def test_incidents_and_habits_are_no_regime(seed: int) -> None:
    x = daily(14, seed)
    bump = x.copy()
    bump[-900:-780] += 30
    leak = x.copy()
    leak[-600:] += np.linspace(0, 40, 600)
    flat = since(x, 300, times=0, plus=100)
    weekend = x * np.where(np.arange(x.size) // DAY % 7 < 5, 1, 0.6)
    swinging = x.copy()
    swinging[-300:] += 30 * np.tile([1.0, -1.0], 150)
    for series in (x, bump, leak, flat, since(x, 300, times=0), weekend, swinging, np.full(x.size, 5.0)):
        assert ago(series) == 0


def test_a_history_too_short_for_a_past_has_no_change() -> None:
    assert ago(since(daily(0.2), 60, plus=50)) == 0
    assert newest(np.empty((0, 2, 1), np.float32), 0, STEP, SPEC).row.tolist() == [-1, -1]


def test_of_several_features_half_must_have_moved() -> None:
    x = np.stack([daily(7, seed) for seed in range(4)], axis=1)[:, None, :].astype(np.float32)
    one, two = x.copy(), x.copy()
    one[-600:, 0, :1] += 20
    two[-600:, 0, :2] += 20
    assert newest(one, 0, STEP, SPEC).row.tolist() == [-1]
    found = newest(two, 0, STEP, SPEC)
    assert abs(7 * DAY - int(found.row[0]) - 600) <= 15
    np.testing.assert_allclose(found.plus[0], [20, 20, 0, 0], atol=2)
    np.testing.assert_allclose(found.times[0], 1, rtol=1e-3)


def test_whether_a_level_was_added_or_multiplied_is_told_by_the_noise() -> None:
    more, twice = since(daily(7), 600, plus=60), since(daily(7), 600, times=1.6)
    found = newest(np.stack([more, twice], axis=1).astype(np.float32)[:, :, None], 0, STEP, SPEC)
    assert found.times[0] == 1
    assert found.plus[0] == pytest.approx(60, abs=2)
    assert found.times[1] == pytest.approx(1.6, abs=0.03)
    assert found.plus[1] == 0


def test_the_start_of_the_grid_and_scale_do_not_matter_and_neighbours_neither() -> None:
    x = since(daily(7), 600, plus=20).astype(np.float32)[:, None, None]
    row = newest(x, 0, STEP, SPEC).row
    for start in (7 * STEP, 5 * 3600):
        assert abs(int(newest(x, start, STEP, SPEC).row[0]) - int(row[0])) <= 15
    np.testing.assert_array_equal(newest(x * np.float32(1024), 0, STEP, SPEC).row, row)
    both = np.concatenate([x, daily(7, 3).astype(np.float32)[:, None, None]], axis=1)
    assert newest(both, 0, STEP, SPEC).row.tolist() == [int(row[0]), -1]


def test_history_is_moved_to_the_new_level_first_and_left_out_when_the_new_one_is_old_enough() -> None:
    x = np.array([1, 2, 3, 11, 12, 13], np.float32)[:, None, None]
    one, none = np.ones((1, 1)), np.zeros((1, 1))
    change = Change(np.array([3]), one, 10 * one)
    assert apply(x, change, 4).ravel().tolist() == [11, 12, 13, 11, 12, 13]
    np.testing.assert_array_equal(apply(x, change, 3).ravel(), [np.nan] * 3 + [11, 12, 13])
    assert apply(x, Change(np.array([3]), 4 * one, none), 4).ravel().tolist()[:3] == [4, 8, 12]
    down = Change(np.array([3]), one, -2 * one)
    assert apply(x, down, 4).ravel().tolist()[:3] == [0, 0, 1], "what is never negative stays so"
    assert apply(x, Change(np.array([-1]), one, none), 1) is x
