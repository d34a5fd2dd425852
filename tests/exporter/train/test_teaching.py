"""What people said of the history changes what is learned from it, and nothing else does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_exporter import specs
from anomaly_exporter.blobs import DirectoryBlobs
from anomaly_exporter.config import Config
from anomaly_exporter.feedback import Feedback, Record, Shelf, parse_matcher, timelines
from anomaly_exporter.train.teaching import Teaching, echoing, masked
from anomaly_models import pack as codec
from anomaly_models import training
from anomaly_models.exemplars import CONTEXT
from anomaly_models.frame import Block, EntityKey, Span
from anomaly_models.training import Plan, TrainedBatch

STEP = 60
T0 = 1_800_000_000 // 86_400 * 86_400
ROWS = 400
A, B = (EntityKey.of("cpu", {"namespace": "n", "container": name}) for name in "ab")
CONFIG = Config.model_validate(
    {
        "files": {"path": "unused"},
        "targets": [
            {
                "name": "cpu",
                "metric": "cpu",
                "queries": [{"expr": "x"}],
                "models": ["zscore"],
                "training": {"contamination": 0},
                "threshold": {"base": "mad"},
                "alerting": {"persistence": 3},
            }
        ],
    }
)
CPU = CONFIG.target("cpu")


def block(*events: tuple[int, int, float]) -> Block:
    """Noise of two containers; ``a`` is raised in rows [first, last) by a height, for every event."""
    times = T0 + STEP * np.arange(ROWS)
    base = 10 + 0.2 * np.sin(times / 977) + 0.1 * np.sin(times / 131)
    values = np.stack([base, base + 1], axis=1).astype(np.float32)
    for first, last, height in events:
        values[first:last, 0] += height
    return Block(T0, STEP, (A, B), ("value",), values[:, :, None])


def said(verdict: str, first: int, last: int, *matches: str, identity: str = "cli:1", at: float = 1.0) -> Record:
    return Record(
        id=identity,
        verdict=verdict,  # type: ignore[arg-type]
        start=T0 + first * STEP,
        end=T0 + last * STEP,
        author="ada",
        source="cli",
        stated_at=at,
        recorded_at=at,
        matchers=tuple(map(parse_matcher, matches or ("container=a",))),
    )


def teaching(*statements: Record, shelf: Shelf | None = None) -> Teaching:
    known = shelf.load("cpu") if shelf else {}
    return Teaching(CONFIG, CPU, statements, shelf, known)


def plan() -> Plan:
    model = CONFIG.model("zscore")
    return Plan(specs.model_spec(model, CPU), specs.cleaning_spec(CPU, model), specs.threshold_spec(CPU), persistence=3)


def learned(one: Block) -> TrainedBatch:
    return training.train(one, plan())


@pytest.mark.parametrize("verdict", ["incident", "ignore"])
@settings(max_examples=10, deadline=None)
@given(
    first=st.integers(5, 340),
    length=st.integers(1, 50),
    values=st.lists(st.floats(-1e6, 1e6, width=32), min_size=50, max_size=50),
)
def test_samples_of_a_masked_window_change_nothing_that_is_learned(
    verdict: str, first: int, length: int, values: list[float]
):
    statement = said(verdict, first, first + length)
    changed = block()
    changed.values[first : first + length, 0, 0] = values[:length]
    # Weights, thresholds and figures are all in the pack.
    one, other = (learned(teaching(statement).take(b)[0]) for b in (block(), changed))
    assert one.pack is not None
    assert other.pack is not None
    assert codec.encode(one.pack).digest == codec.encode(other.pack).digest


def test_the_entity_beside_it_keeps_all_its_samples():
    taken, _ = teaching(said("incident", 100, 150)).take(block())
    assert np.isnan(taken.values[100:150, 0]).all()
    assert np.isfinite(taken.values[:100, 0]).all()
    assert np.isfinite(taken.values[150:, 0]).all()
    assert np.isfinite(taken.values[:, 1]).all()


def test_what_was_expected_is_learned_from():
    taken, _ = teaching(said("expected", 100, 150)).take(block())
    assert np.isfinite(taken.values).all()


def test_without_a_statement_the_very_same_block_comes_back():
    one = block()
    assert masked(one, [(), ()]) is one


def test_an_expected_stretch_is_kept_with_its_echo_until_somebody_says_something_else():
    statements = [said("expected", 100, 120), said("incident", 140, 150, identity="cli:2")]
    (found, _) = timelines(statements, CONFIG, CPU, [A, B], Span(T0, T0 + ROWS * STEP))
    ((stretch, span),) = echoing(found, STEP)
    assert stretch.record.id == "cli:1"
    assert (span.start, span.end) == (T0 + 100 * STEP, T0 + 140 * STEP)
    ((_, alone),) = echoing(found[:1], STEP)
    assert alone.end == T0 + (120 + CONTEXT) * STEP


def test_exemplars_are_kept_beyond_the_history_and_forgotten_when_withdrawn(tmp_path: Path):
    shelf = Shelf(DirectoryBlobs(tmp_path))
    statement = said("expected", 20, 40)
    teaching(statement, shelf=shelf).take(block((20, 40, 5.0)))
    assert [k.statement for k in shelf.load("cpu")[A]] == ["cli:1"]
    later = block().slice(Span(T0 + 200 * STEP, T0 + ROWS * STEP))
    teaching(statement, shelf=shelf).take(later)
    assert [k.statement for k in shelf.load("cpu")[A]] == ["cli:1"]
    teaching(shelf=shelf).take(later)
    assert shelf.load("cpu") == {}


def test_a_broken_document_of_exemplars_costs_no_training(tmp_path: Path):
    (tmp_path / "exemplars").mkdir()
    (tmp_path / "exemplars" / "cpu.json").write_text("{")
    blobs = DirectoryBlobs(tmp_path)
    feedback = Feedback(blobs)
    feedback.add([said("expected", 20, 40)])
    taught = Teaching.of(CONFIG, CPU, feedback, Shelf(blobs))
    taught.take(block((20, 40, 5.0)))
    assert set(Shelf(blobs).load("cpu")) == {A}


def judged(*statements: Record, events: tuple[tuple[int, int, float], ...]) -> dict[str, int] | None:
    taken, lesson = teaching(*statements).take(block(*events))
    batch = learned(taken)
    assert batch.scorer is not None
    rules = plan(), specs.alert_spec(CPU, CONFIG.model("zscore"))
    return lesson.judge(CONFIG, A, batch.scorer.take([0]), batch.rows[0].threshold, rules)


def test_a_model_is_judged_by_incidents_it_finds_and_expected_stretches_it_leaves_alone():
    statements = [
        said("incident", 100, 120, identity="cli:1"),
        said("incident", 200, 220, identity="cli:2"),
        said("expected", 300, 320, identity="cli:3"),
        said("ignore", 350, 360, identity="cli:4"),
    ]
    assert judged(*statements, events=((100, 120, 30.0),)) == {"tp": 1, "fp": 0, "fn": 1, "tn": 1}


def test_an_expected_event_is_not_judged_with_its_own_exemplar():
    """Otherwise every lesson would count as learned. It is in the newest part, which the threshold does not know."""
    assert judged(said("expected", 370, 390), events=((370, 390, 30.0),)) == {"tp": 0, "fp": 1, "fn": 0, "tn": 0}


def test_what_nobody_spoke_of_is_not_judged():
    assert judged(events=((100, 120, 30.0),)) is None
    assert judged(said("ignore", 100, 120), events=()) is None
