"""Promises of local time and of what is usual at a time of the day."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_models.time_of_day import DAY, Calendar, Days, Past, Slots, mean, quantiles, tables

STEP = 600
UTC_SLOTS = Slots(Calendar(), 600)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def days_of(start: int, count: int, slots: Slots = UTC_SLOTS, step: int = STEP) -> Days:
    return Days.of(start + step * np.arange(count, dtype=np.int64), step, slots)


@given(st.integers(0, 2**31), st.sampled_from(["Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "UTC"]))
@settings(deadline=None)
def test_local_time_is_what_a_clock_there_shows(time: int, zone: str) -> None:
    shown = datetime.fromtimestamp(time, ZoneInfo(zone))
    local = int(Calendar(zone).local(np.array([time]))[0])
    assert local % DAY == shown.hour * 3600 + shown.minute * 60 + shown.second


def test_a_job_at_nine_local_time_stays_in_its_slot_when_the_clocks_change() -> None:
    slots = Slots(Calendar("Europe/Berlin"), 600)
    winter, summer = at("2026-03-27 08:00"), at("2026-03-30 07:00")
    assert set((slots.number(np.array([winter, summer])) % slots.per_day).tolist()) == {9 * 6}
    before = at("2026-10-24 07:00")
    after = at("2026-10-26 08:00")
    assert set((slots.number(np.array([before, after])) % slots.per_day).tolist()) == {9 * 6}


def test_the_hour_that_comes_twice_keeps_its_later_samples() -> None:
    slots = Slots(Calendar("Europe/Berlin"), 600)
    days = days_of(at("2026-10-25 00:00"), 36, slots, 300)
    by_slot = days.by_slot(np.arange(36, dtype=np.float32)[None])
    assert days.width == 2
    first = int(slots.number(np.array([at("2026-10-25 00:00")]))[0]) - days.first * slots.per_day
    assert by_slot[0, first].tolist() == [12, 13]
    assert np.isfinite(by_slot).sum() == 24


def test_unknown_zones_and_dates_are_refused() -> None:
    with pytest.raises(ZoneInfoNotFoundError):
        Calendar("Mars/Olympus")
    with pytest.raises(ValueError, match="isoformat"):
        Calendar(excluded=("Christmas",))


def test_holidays_are_compared_with_holidays_alone() -> None:
    calendar = Calendar(excluded=("2026-01-03", "2026-01-07"))
    days = days_of(at("2026-01-01 00:00"), 10 * 144, Slots(calendar, 600))
    assert days.sources(5, Past(), 0) == [0, 1, 3, 4]
    assert days.sources(6, Past(), 0) == [2]
    assert days.sources(9, Past(keep=3), 0) == [5, 7, 8]


def test_the_first_days_borrow_from_each_other_and_later_ones_only_look_back() -> None:
    days = days_of(0, 10 * 144)
    assert days.sources(0, Past(), 0) == [1, 2, 3, 4]
    assert days.sources(2, Past(), 0) == [0, 1, 3, 4]
    assert days.sources(3, Past(), 0) == [0, 1, 2]
    assert days.sources(9, Past(), 0) == [2, 3, 4, 5, 6, 7, 8]
    assert days.sources(4, Past(), 3) == [3, 5, 6, 7]


def test_a_table_is_the_median_of_the_slot_and_its_neighbours_on_earlier_days() -> None:
    days = days_of(0, 6 * 144)
    x = (100.0 * (np.arange(6 * 144) // 144) + np.arange(6 * 144) % 144).astype(np.float32)[None]
    (table,) = tables(days.by_slot(x)[:, :, 0], days, (0.5,), 1, Past(), 0)
    assert table.shape == (1, 7 * 144)
    assert table[0, 5 * 144 + 50] == 250
    assert table[0, 6 * 144 + 50] == 300


def test_two_days_with_a_number_are_needed() -> None:
    days = days_of(0, 6 * 144)
    x = np.full((1, 6 * 144), np.nan, np.float32)
    x[0, 50] = x[0, 144 + 51] = 7.0
    x[0, 90] = 3.0
    (table,) = tables(x, days, (0.5,), 1, Past(), 0)
    assert table[0, 5 * 144 + 50] == 7.0
    assert np.isnan(table[0, 5 * 144 + 90])


def test_later_samples_never_change_the_table_of_a_day() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 9 * 144)).astype(np.float32)
    short = tables(x[:, : 7 * 144], days_of(0, 7 * 144), (0.1, 0.9), 1, Past(), 0)
    long = tables(x, days_of(0, 9 * 144), (0.1, 0.9), 1, Past(), 0)
    for a, b in zip(short, long, strict=True):
        np.testing.assert_array_equal(a[:, : 7 * 144], b[:, : 7 * 144])


@given(st.integers(1, 30), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_quantiles_and_means_agree_with_numpy_where_there_are_gaps(size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(5, size)).astype(np.float32)
    x[rng.random(x.shape) < 0.4] = np.nan
    x[4] = np.nan
    x[:4, 0] = 1.0
    for share, mine in zip((0.0, 0.1, 0.5, 1.0), quantiles(x, (0.0, 0.1, 0.5, 1.0)), strict=True):
        np.testing.assert_allclose(mine[:4], np.nanquantile(x[:4], share, axis=1), rtol=1e-5, atol=1e-6)
        assert np.isnan(mine[4])
    np.testing.assert_allclose(mean(x)[:4], np.nanmean(x[:4], axis=1), rtol=1e-5, atol=1e-6)
    assert np.isnan(mean(x)[4])


def test_between_slots_the_way_is_shared_linearly() -> None:
    below, share = UTC_SLOTS.between(np.array([300, 600, 899, 100]))
    assert below.tolist() == [0, 0, 0, -1]
    np.testing.assert_allclose(share, [0, 0.5, 599 / 600, 400 / 600], atol=1e-6)
