"""Exemplars: what somebody called expected is near when it comes again, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly_models import detector, windows
from anomaly_models.alerting import AlertSpec
from anomaly_models.exceptions import InvalidShapeError
from anomaly_models.exemplars import CONTEXT, LONGEST, MOST, Exemplar, Exemplars, ExemplarSpec, cut
from anomaly_models.frame import Block, EntityKey, Inference, Opinion, Span, Windows
from anomaly_models.scaling import Scaler
from anomaly_models.thresholds import Recent, ThresholdInputs, ThresholdSpec, ThresholdStack
from anomaly_models.zscore import ZScore

STEP = 300
DAY = 86_400
WEEK = 7 * DAY
T0 = 20_000 * DAY
BACKUP = Span(T0 + DAY + 2 * 3600, T0 + DAY + 3 * 3600)


def series(times: np.ndarray, *events: tuple[int, int, float]) -> np.ndarray:
    """Noise around 10, raised by ``height`` within every event (start, end, height); an instant keeps its noise."""
    out = 10 + 0.2 * np.sin(times / 977.0) + 0.1 * np.cos(times / 1313.0)
    for start, end, height in events:
        out = np.where((times >= start) & (times < end), out + height, out)
    return out.astype(np.float32)


def block(span: Span, *events: tuple[int, int, float]) -> Block:
    times = np.arange(span.start, span.end, STEP)
    values = series(times, *events)[:, None, None]
    return Block(span.start, STEP, (EntityKey.of("t", {"container": "a"}),), ("value",), values)


def of_backup(height: float = 20.0) -> tuple[Exemplar, ...]:
    learned = block(Span(T0, T0 + 3 * DAY), (BACKUP.start, BACKUP.end, height))
    return cut(learned, learned.values, 0, [BACKUP])


def scorer() -> ZScore:
    return ZScore(1, 1, Scaler(np.full((1, 1), 10, np.float32), np.full((1, 1), 0.5, np.float32)))


def of_block(b: Block, window: int) -> Windows:
    return windows.make(b.values, np.isfinite(b.values), b.start, b.step, window)


def distances(exemplars: Exemplars, w: Windows, threshold: float = 3.0) -> np.ndarray | None:
    S, B, _, F = w.x.shape
    found = exemplars.nearest(
        w, np.full((S, F), 0.5, np.float32), np.full((S, B), threshold, np.float32), np.ones((S, B, F), np.bool_)
    )
    return None if found is None else found.distance


def week_later(*events: tuple[int, int, float]) -> Windows:
    """Windows of the backup's hour one week later."""
    return of_block(block(Span(BACKUP.start + WEEK - 12 * STEP, BACKUP.end + WEEK), *events), 12)


def again(shift: int = 0, height: float = 20.0) -> tuple[int, int, float]:
    return BACKUP.start + WEEK + shift, BACKUP.end + WEEK + shift, height


def test_the_same_event_a_week_later_is_near_in_every_window_of_its_hour():
    found = distances(Exemplars([of_backup()]), week_later(again()))
    assert found is not None
    assert (found[0, 2:] < 3.0).all()


@pytest.mark.parametrize("shift", [-2 * STEP, 2 * STEP])
def test_an_event_that_comes_a_few_steps_early_or_late_is_still_near(shift: int):
    b = block(Span(BACKUP.start + WEEK - 20 * STEP, BACKUP.end + WEEK + 4 * STEP), again(shift))
    w = of_block(b, 12)
    found = distances(Exemplars([of_backup()]), w)
    assert found is not None
    during = (w.end[0] >= again(shift)[0]) & (w.end[0] < again(shift)[1])
    assert (found[0, during] < 3.0).all()


def test_an_event_that_is_a_tenth_higher_is_still_near_and_one_of_half_the_height_is_not():
    exemplars = Exemplars([of_backup()])
    inside = slice(12, 24)
    tenth, half = (distances(exemplars, week_later(again(height=h))) for h in (21.9, 10.0))
    assert tenth is not None
    assert half is not None
    assert (tenth[0, inside] < 3.0).all()
    assert (half[0, inside] > 3.0).all()


@pytest.mark.parametrize("height", [-9.0, 8.0, 60.0])
def test_a_different_anomaly_at_the_same_hour_is_far(height: float):
    found = distances(Exemplars([of_backup()]), week_later(again(height=height)))
    assert found is not None
    assert (found[0, 15:22] > 3.0).all()


def test_the_level_of_the_event_at_another_hour_is_far():
    noon = block(Span(T0 + 8 * DAY + 12 * 3600 - 12 * STEP, T0 + 8 * DAY + 13 * 3600), (0, 2**40, 20.0))
    assert distances(Exemplars([of_backup()]), of_block(noon, 12)) is None


def test_a_plateau_that_stays_after_the_event_is_far():
    still_on = block(Span(BACKUP.start + WEEK, BACKUP.end + WEEK + 2 * 3600), (again()[0], again()[1] + 7200, 20.0))
    found = distances(Exemplars([of_backup()]), of_block(still_on, 12))
    assert found is not None
    ends = np.arange(BACKUP.start + WEEK + 11 * STEP, BACKUP.end + WEEK + 7200, STEP)
    assert np.isinf(found[0, ends >= BACKUP.end + WEEK + 5 * STEP]).all()


def test_an_event_that_flickers_does_not_run_like_the_exemplar():
    times = np.arange(BACKUP.start + WEEK - 12 * STEP, BACKUP.end + WEEK, STEP)
    flickers = series(times) + np.where((times // STEP % 2 == 0) & (times >= BACKUP.start + WEEK), 20, 0)
    b = block(Span(int(times[0]), int(times[-1]) + 1))
    w = of_block(Block(b.start, STEP, b.entities, b.features, flickers.astype(np.float32)[:, None, None]), 12)
    found = distances(Exemplars([of_backup()]), w)
    assert found is not None
    assert np.isinf(found[0, 18:]).all()


def test_weekly_recurrence_asks_for_the_same_day_of_the_week_and_daily_does_not():
    tomorrow = block(Span(BACKUP.start + DAY, BACKUP.end + DAY), (BACKUP.start + DAY, BACKUP.end + DAY, 20.0))
    w = of_block(tomorrow, 6)
    assert distances(Exemplars([of_backup()], ExemplarSpec(recurrence="weekly")), w) is None
    daily = distances(Exemplars([of_backup()]), w)
    assert daily is not None
    assert (daily[0] < 3.0).all()


def test_windows_before_the_exemplar_are_never_compared_with_it():
    before = block(Span(BACKUP.start - DAY, BACKUP.end - DAY), (BACKUP.start - DAY, BACKUP.end - DAY, 20.0))
    assert distances(Exemplars([of_backup()]), of_block(before, 6)) is None


def test_an_event_over_midnight_is_found_on_both_sides_of_it():
    span = Span(T0 + DAY - 3600, T0 + DAY + 3600)
    learned = block(Span(T0, T0 + 3 * DAY), (span.start, span.end, 20.0))
    exemplars = Exemplars([cut(learned, learned.values, 0, [span])])
    later = block(Span(span.start + 3 * DAY, span.end + 3 * DAY), (span.start + 3 * DAY, span.end + 3 * DAY, 20.0))
    found = distances(exemplars, of_block(later, 6))
    assert found is not None
    assert (found < 3.0).all()


def test_a_series_without_exemplars_is_untouched_by_those_of_its_neighbour():
    b = block(Span(BACKUP.start + WEEK, BACKUP.end + WEEK), again())
    both = Block(
        b.start, STEP, (*b.entities, EntityKey.of("t", {"container": "b"})), b.features, np.repeat(b.values, 2, 1)
    )
    found = distances(Exemplars([(), of_backup()]), of_block(both, 6))
    assert found is not None
    assert np.isinf(found[0]).all()
    assert np.isfinite(found[1]).all()


def test_a_long_stretch_becomes_several_exemplars_and_only_the_newest_are_kept():
    days = 60
    learned = block(Span(T0, T0 + days * DAY))
    found = cut(learned, learned.values, 0, [Span(T0, T0 + days * DAY)])
    assert len(found) == MOST
    assert all(e.length <= LONGEST for e in found)
    assert found[-1].start + found[-1].length * STEP == T0 + days * DAY


def test_a_stretch_without_samples_makes_no_exemplar():
    learned = block(Span(T0, T0 + DAY))
    gap = learned.values.copy()
    gap[100:112] = np.nan
    assert cut(learned, gap, 0, [Span(T0 + 100 * STEP, T0 + 112 * STEP)]) == ()
    assert cut(learned, gap, 0, [Span(T0 - DAY, T0)]) == ()
    assert cut(learned, np.full_like(gap, np.nan), 0, [Span(T0, T0 + DAY)]) == ()


def test_exemplars_that_do_not_fit_are_refused():
    with pytest.raises(InvalidShapeError):
        Exemplar(T0, STEP, np.zeros(1, np.float32), np.zeros((CONTEXT - 1, 1), np.float32))
    with pytest.raises(InvalidShapeError):
        Exemplars([of_backup(), (Exemplar(T0, 60, np.zeros(1, np.float32), np.zeros((CONTEXT, 1), np.float32)),)])
    with pytest.raises(InvalidShapeError):
        distances(Exemplars([of_backup()] * 2), week_later())
    with pytest.raises(ValueError, match="shift"):
        ExemplarSpec(shift=-1)


def test_a_window_with_a_gap_in_its_newest_sample_is_near_nothing():
    w = week_later(again())
    x, valid = w.x.copy(), w.valid.copy()
    x[:, :, -1], valid[:, :, -1] = np.nan, False
    found = distances(Exemplars([of_backup()]), Windows(x, valid, w.end))
    assert found is not None
    assert np.isinf(found).all()


@given(st.integers(0, 30), st.floats(0, 0.5), st.floats(-30, 30))
def test_the_distance_of_one_sample_is_the_difference_beyond_the_tolerance(shift: int, tolerance: float, off: float):
    """|x - y| - tolerance |y - level|, over the scale, against a constant exemplar that any shift leaves as it is."""
    rows = CONTEXT - 1 + 4
    exemplar = Exemplar(T0, STEP, np.zeros(1, np.float32), np.full((rows, 1), 40, np.float32))
    x = np.full((1, 1, 3, 1), 40 + off, np.float32)
    w = Windows(x, np.ones_like(x, np.bool_), np.array([[T0 + WEEK]]))
    found = distances(Exemplars([(exemplar,)], ExemplarSpec(shift, tolerance)), w, threshold=1e6)
    assert found is not None
    assert found[0, 0] == pytest.approx(max(abs(off) - tolerance * 40, 0) / 0.5, abs=1e-3)


def judged(w: Windows, exemplars: Exemplars | None) -> detector.Verdict:
    inputs = ThresholdStack.of([ThresholdInputs(Recent(T0, 3.0, 1.0), ())])
    return detector.detect(scorer(), w, inputs, ThresholdSpec(floor=0.1), AlertSpec(persistence=2), exemplars=exemplars)


def test_with_the_exemplar_the_event_is_quiet_and_a_higher_one_is_detected():
    exemplars = Exemplars([of_backup()])
    same = of_block(block(Span(BACKUP.start + WEEK - 6 * STEP, BACKUP.end + WEEK), again()), 1)
    higher = of_block(block(Span(BACKUP.start + WEEK - 6 * STEP, BACKUP.end + WEEK), again(height=60.0)), 1)
    assert judged(same, None).detected.any()
    assert not judged(same, exemplars).detected.any()
    assert judged(higher, exemplars).detected.any()


def test_where_an_exemplar_is_nearer_the_band_stands_around_it():
    """The observation is inside its band exactly where the score is below 1."""
    w = of_block(block(Span(BACKUP.start + WEEK - 6 * STEP, BACKUP.end + WEEK), again(height=23.0)), 1)
    said = judged(w, Exemplars([of_backup()]))
    inside = (said.observed >= said.lower - 1e-4) & (said.observed <= said.upper + 1e-4)
    np.testing.assert_array_equal(inside[:, :, 0], said.score <= 1)
    assert (said.expected[0, 8:, 0] > 25).all()


def test_the_error_is_the_smaller_of_the_two_and_never_grows():
    w = of_block(block(Span(T0, T0 + 9 * DAY), (BACKUP.start, BACKUP.end, 20.0), again(height=21.0)), 1)
    without, with_ = judged(w, None), judged(w, Exemplars([of_backup()]))
    assert (with_.error <= without.error).all()
    assert (with_.score <= without.score).all()
    assert (with_.score < without.score).any()


def test_one_call_with_many_windows_gives_what_calls_with_one_window_give():
    exemplars = Exemplars([of_backup()])
    w = week_later(again(height=21.0))
    one_by_one = [
        distances(exemplars, Windows(w.x[:, i : i + 1], w.valid[:, i : i + 1], w.end[:, i : i + 1]))
        for i in range(w.x.shape[1])
    ]
    together = distances(exemplars, w)
    assert together is not None
    np.testing.assert_array_equal(together[0], [np.inf if one is None else one[0, 0] for one in one_by_one])


class Opinionated:
    """A scorer with an ensemble's opinion: everything is a thousand times rarer than once a week."""

    kind, window, scale = "test", 1, np.full((1, 1), 0.5, np.float32)

    def infer(self, w: Windows) -> Inference:
        S, B, _, F = w.x.shape
        error = np.full((S, B), 2.0, np.float32)
        rare = np.full((S, B), 3.0, np.float32)
        members = np.full((S, B, 1), 3.0, np.float32)
        opinion = Opinion(rare, members, ("level",), rare[:, :, None].repeat(F, 2))
        return Inference(error, error[:, :, None], np.full((S, B, F), 10, np.float32), opinion)


def test_the_score_of_an_ensemble_is_bounded_by_the_same_rule():
    """Near the exemplar: distance / threshold, also where the autoencoder saw nothing; elsewhere its own opinion."""
    w = of_block(block(Span(BACKUP.start + WEEK - 6 * STEP, BACKUP.end + WEEK), again(height=21.0)), 1)
    inputs = ThresholdStack.of([ThresholdInputs(Recent(T0, 3.0, 1.0), ())])

    def scores(exemplars: Exemplars | None) -> np.ndarray:
        alert = AlertSpec(persistence=1)
        return detector.detect(Opinionated(), w, inputs, ThresholdSpec(), alert, exemplars=exemplars).score[0]

    exemplars = Exemplars([of_backup()])
    near = distances(exemplars, w)
    assert near is not None
    np.testing.assert_allclose(scores(None), 10)
    np.testing.assert_allclose(scores(exemplars), np.minimum(10, near[0] / 3), rtol=1e-5)
    assert (scores(exemplars)[6:] < 1).all()
