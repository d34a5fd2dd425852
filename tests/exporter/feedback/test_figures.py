"""What verdicts amount to: counts that never fall, precision that is absent without verdicts, remedies by success."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from anomaly_exporter.config import Remedy
from anomaly_exporter.feedback import Record, parse_matcher
from anomaly_exporter.feedback.figures import Confusion, Tags, counted, precision, ranked
from anomaly_models.frame import EntityKey
from support.feedback_configs import config_of

CONFIG = config_of()


def record(identity: str, verdict: str, *matches: str, start: int = 0, **fields: object) -> Record:
    return Record(
        id=identity,
        verdict=verdict,  # type: ignore[arg-type]
        start=start,
        end=start + 60,
        author="ada",
        source="cli",
        stated_at=1.0,
        recorded_at=float(fields.pop("recorded_at", 1.0)),  # type: ignore[arg-type]
        matchers=tuple(map(parse_matcher, matches)),
        **fields,  # type: ignore[arg-type]
    )


def test_the_tag_comes_from_the_matchers_where_they_say_it():
    tags = Tags(CONFIG)
    assert tags(record("a", "expected", "tag=ops")) == ("ops",)
    assert tags(record("b", "expected", target="memory")) == ("ops",)
    assert tags(record("c", "expected", "namespace=dmwm", "metric=cpu")) == ("dmwm",)
    assert tags(record("d", "expected", "namespace=dmwm")) == ("dmwm", "ops")


def test_the_tag_comes_from_the_entities_that_are_meant_where_matchers_do_not_say_it():
    tags = Tags(CONFIG)
    one = record("a", "expected", "container=x", target="cpu")
    assert tags(one) == ("",)
    cpu = CONFIG.target("cpu")
    tags.meet([(cpu, EntityKey.of("cpu", {"namespace": n, "container": c})) for n, c in (("n1", "x"), ("n2", "y"))])
    assert tags(one) == ("n1",)


def test_verdicts_are_counted_per_tag_and_an_edit_that_keeps_the_verdict_is_not():
    tags = Tags(CONFIG)
    said = [
        record("a", "expected", "tag=ops"),
        record("a", "expected", "tag=ops", comment="more", recorded_at=2),
        record("a", "incident", "tag=ops", recorded_at=3),
        record("a", "incident", "tag=ops", recorded_at=4, withdrawn=True),
        record("b", "ignore", "tag=dev"),
    ]
    assert counted(said, tags) == {("ops", "expected"): 1, ("ops", "incident"): 1, ("dev", "ignore"): 1}


def test_precision_is_the_share_of_incidents_in_the_window_and_absent_without_verdicts():
    tags = Tags(CONFIG)
    said = [
        record("a", "incident", "tag=ops", start=100),
        record("b", "expected", "tag=ops", start=200),
        record("c", "incident", "tag=ops", start=300),
        record("d", "ignore", "tag=ops", start=300),
        record("e", "ignore", "tag=dev", start=300),
        record("f", "expected", "tag=old", start=0),
    ]
    assert precision(said, tags, 60, 1000) == {"ops": 2 / 3}
    assert precision(said, tags, 59, 1000) == {"ops": 2 / 3, "old": 0.0}
    assert precision(said, tags, 60, 300) == {"ops": 0.5}


COUNT = st.integers(0, 50)


@given(COUNT, COUNT, COUNT, COUNT)
def test_f1_is_the_harmonic_mean_of_precision_and_recall(tp: int, fp: int, fn: int, tn: int):
    found = Confusion(tp, fp, fn, tn)
    p, r = found.precision, found.recall
    if tp == 0:
        assert found.f1 in (0.0, None)
    else:
        assert p is not None
        assert r is not None
        assert found.f1 is not None
        assert abs(found.f1 - 2 * p * r / (p + r)) < 1e-9


def test_a_ratio_without_a_denominator_is_absent():
    assert Confusion(tn=5).precision is None
    assert Confusion(tn=5, fp=1).recall is None
    assert Confusion(tn=5).f1 is None


def test_figures_of_another_form_are_no_confusion_matrix():
    assert Confusion.of({"tp": 1, "fp": 0, "fn": 0, "tn": 2}) == Confusion(1, 0, 0, 2)
    for wrong in ({}, {"tp": 1}, {"tp": -1, "fp": 0, "fn": 0, "tn": 0}, {"tp": "1", "fp": 0, "fn": 0, "tn": 0}):
        assert Confusion.of(wrong) is None


def test_remedies_that_fixed_most_come_first_and_the_others_keep_their_order():
    remedies = [Remedy(text=text) for text in ("restart", "scale", "look", "wait")]
    said = [
        record(str(i), "incident", fixed_by=text) for i, text in enumerate(["look", " look ", "scale", "prayer", ""])
    ]
    assert [r.text for r in ranked(remedies, said)] == ["look", "scale", "restart", "wait"]
