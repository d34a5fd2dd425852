"""Promises of shapes: every kind of anomaly has its name nearly always, and nothing is guessed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_models import shapes
from anomaly_models.exceptions import InvalidShapeError
from anomaly_models.frame import F32

L = shapes.LOOK_BACK
TRIES = 200


def noise(rng: np.random.Generator) -> np.ndarray:
    return 10 + 0.1 * rng.normal(size=L)


def with_tail(rng: np.random.Generator, tail: np.ndarray) -> np.ndarray:
    x = noise(rng)
    x[L - tail.size :] += tail
    return x


KINDS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "spike": lambda rng: with_tail(rng, np.full(2, 3.0)),
    "dip": lambda rng: with_tail(rng, np.full(2, -3.0)),
    "level_shift": lambda rng: with_tail(rng, np.full(int(rng.integers(8, 40)), rng.choice([-3.0, 3.0]))),
    "leak": lambda rng: noise(rng) + np.linspace(0, 3, L),
    "variance": lambda rng: with_tail(rng, rng.normal(size=int(rng.integers(15, 40)))),
}


def named(x: F32, **known: bool) -> list[str]:
    """Names of the shapes of ``x`` [S, L], whose deviation is that of the newest sample from the median."""
    deviation = x[:, -1] - np.nanmedian(x, axis=1)
    flags = [np.full(len(x), known.get(k, False)) for k in ("flat", "zero", "leaking")]
    found = shapes.classify(x, deviation.astype(np.float32), *flags)
    return [shapes.NAMES[i] if i >= 0 else "none" for i in found]


@pytest.mark.parametrize("kind", KINDS)
def test_nine_of_ten_anomalies_of_a_kind_have_its_name(kind: str) -> None:
    rng = np.random.default_rng(3)
    x = np.stack([KINDS[kind](rng) for _ in range(TRIES)]).astype(np.float32)
    assert named(x).count(kind) >= 0.9 * TRIES


def test_what_is_known_from_longer_looks_comes_first() -> None:
    x = np.stack([KINDS["spike"](np.random.default_rng(0))]).astype(np.float32)
    assert named(x, leaking=True) == ["leak"]
    assert named(x, leaking=True, flat=True) == ["flat_line"]
    assert named(x, leaking=True, flat=True, zero=True) == ["zero"]
    assert named(-x, leaking=True) == ["dip"], "what leaks does not fall"


def test_a_spike_that_stays_becomes_a_level_shift() -> None:
    rng = np.random.default_rng(0)
    said = [named(np.stack([with_tail(rng, np.full(n, 3.0))]).astype(np.float32))[0] for n in (1, 3, 9, 20)]
    assert said == ["spike", "spike", "level_shift", "level_shift"]


def test_too_few_samples_leave_the_sign_and_nothing_at_all_leaves_nothing() -> None:
    up = np.full((1, L), np.nan, np.float32)
    up[0, -1] = 3
    known = np.array([2.0], np.float32)
    no = np.zeros(1, np.bool_)
    assert shapes.classify(up, known, no, no, no).tolist() == [shapes.SPIKE]
    assert shapes.classify(up, -known, no, no, no).tolist() == [shapes.DIP]
    assert shapes.classify(up, np.full(1, np.nan, np.float32), no, no, no).tolist() == [shapes.NONE]
    assert shapes.classify(up[:, :0], np.full(1, np.nan, np.float32), no, no, no).tolist() == [shapes.NONE]
    assert shapes.classify(up[:0], known[:0], no[:0], no[:0], no[:0]).shape == (0,)


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(list(KINDS)), st.integers(0, 10), st.integers(-8, 8), st.floats(-50, 50))
def test_a_shape_does_not_depend_on_scale_and_hardly_on_level(kind: str, seed: int, power: int, shift: float) -> None:
    x = KINDS[kind](np.random.default_rng(seed))[None]
    assert named((x * 2.0**power).astype(np.float32)) == named(x.astype(np.float32))
    assert named((x + shift).astype(np.float32)) == named(x.astype(np.float32))


def test_series_do_not_touch_each_other() -> None:
    rng = np.random.default_rng(5)
    x = np.stack([make(rng) for make in KINDS.values()]).astype(np.float32)
    x[1, ::7] = np.nan
    assert named(x) == [named(x[s : s + 1])[0] for s in range(len(x))]


def test_arrays_that_do_not_fit_are_refused() -> None:
    no = np.zeros(1, np.bool_)
    with pytest.raises(InvalidShapeError, match="received"):
        shapes.classify(np.zeros((2, L), np.float32), np.zeros(1, np.float32), no, no, no)
