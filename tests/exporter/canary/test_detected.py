"""Whatever of its history the canary's model has seen, every spike is found and nothing else."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_exporter import specs
from anomaly_exporter.canary import value_at
from anomaly_exporter.config import CANARY_TARGET
from anomaly_exporter.config.canary import FIRST, HISTORY
from anomaly_models import cleaning, detector, training, windows
from anomaly_models.frame import Block, EntityKey, Span, grid
from anomaly_models.thresholds import ThresholdStack
from support.rule_configs import config

CONFIG = config(canary={"enabled": True})
CANARY, TARGET = CONFIG.canary, CONFIG.target(CANARY_TARGET)
MODEL = CONFIG.model("zscore")
BORN = 500_000 * CANARY.every
PLAN = training.Plan(
    specs.model_spec(MODEL, TARGET),
    specs.cleaning_spec(TARGET, MODEL),
    specs.threshold_spec(TARGET),
)


def scraped(span: Span, offset: float) -> Block:
    """The series as Prometheus answers it: at every instant the newest sample, ``offset`` seconds old."""
    block = Block.empty(span, TARGET.step, [EntityKey.of(TARGET.name, {"canary": "canary"})], TARGET.features)
    block.values[:, 0, 0] = [value_at(CANARY, at - offset) for at in grid(span, TARGET.step)]
    return block


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, CANARY.every // TARGET.step),
    st.integers(FIRST * CANARY.every // TARGET.step, HISTORY * CANARY.every // TARGET.step),
    st.floats(0, TARGET.step, exclude_max=True),
)
def test_every_spike_is_found_from_its_second_step_on_and_over_soon_after_it(
    phase: int, learned: int, offset: float
) -> None:
    now = BORN + phase * TARGET.step
    batch = training.train(scraped(Span(now - learned * TARGET.step, now), offset), PLAN)
    assert batch.scorer is not None
    later = scraped(Span(now, now + 2 * CANARY.every), offset)
    bridged, valid = cleaning.bridge(later.values, TARGET.training.max_gap)
    seen = windows.make(bridged, valid, later.start, TARGET.step, batch.scorer.window)
    verdict = detector.detect(
        batch.scorer,
        seen,
        ThresholdStack.of([row.threshold for row in batch.rows]),
        specs.threshold_spec(TARGET),
        specs.alert_spec(TARGET, MODEL),
        TARGET.needed_features,
        None,
    )
    # Steps since the spike began, as far as scrapes tell; the state of the first window knows nothing before it.
    since = ((seen.end[0] - offset) % CANARY.every) // TARGET.step
    found = dict(zip(since[2:].tolist(), verdict.detected[0, 2:].tolist(), strict=True))
    assert all(found[step] for step in range(1, CANARY.length))
    assert not any(is_found for step, is_found in found.items() if step >= CANARY.length + 2)
    assert np.nanmin(verdict.score[0][since < CANARY.length]) > 2
    assert np.nanmax(verdict.score[0][since >= CANARY.length]) < 0.8
