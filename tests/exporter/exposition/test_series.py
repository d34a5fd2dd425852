"""What stands on /metrics: every number exactly, every label exactly, nothing that is not known."""

from __future__ import annotations

import math
import struct
import subprocess
import time
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from anomaly_exporter.config import Config
from anomaly_exporter.exposition import Labels, Page, render_metrics
from anomaly_exporter.exposition.series import COLUMNS
from anomaly_exporter.exposition.state import SHAPE
from anomaly_exporter.metrics import ENTITY
from anomaly_exporter.snapshot import Scores, Snapshot, TargetView
from support.snapshots import NOW, config_of, entry_of, scores_of


def _page(config: Config, *scores: Scores, target: str = "cpu") -> Page:
    return render_metrics(Snapshot(NOW, (TargetView(target, NOW, NOW, scores=scores),)), config, Labels(config))


def _samples(text: bytes) -> list[Sample]:
    return [s for family in text_string_to_metric_families(text.decode()) for s in family.samples]


GOLDEN = """\
# HELP anomaly_reconstruction_error Error of the model on the newest window, in units of the series' scale; \
of model auto, its autoencoder's.
# TYPE anomaly_reconstruction_error gauge
anomaly_reconstruction_error{env="k8s-prod",namespace="dbs",container="web",metric="cpu",model="zscore",tag="dbs"} 0.5
anomaly_reconstruction_error{env="k8s-prod",namespace="das",container="web",metric="cpu",model="zscore",tag="das"} 1.5
# HELP anomaly_threshold Adaptive threshold of the reconstruction error, in the same units; \
of model auto, its autoencoder's.
# TYPE anomaly_threshold gauge
anomaly_threshold{env="k8s-prod",namespace="dbs",container="web",metric="cpu",model="zscore",tag="dbs"} 2.0
anomaly_threshold{env="k8s-prod",namespace="das",container="web",metric="cpu",model="zscore",tag="das"} 2.0
# HELP anomaly_score 1 and above is anomalous, for every model: reconstruction error / threshold, or for model auto \
how rare the newest samples are, 1 exactly at the alert budget.
# TYPE anomaly_score gauge
anomaly_score{env="k8s-prod",namespace="dbs",container="web",metric="cpu",model="zscore",tag="dbs"} 0.25
anomaly_score{env="k8s-prod",namespace="das",container="web",metric="cpu",model="zscore",tag="das"} 0.75
# HELP anomaly_detected 1 while an anomaly stands after persistence, direction, deviation and hysteresis.
# TYPE anomaly_detected gauge
anomaly_detected{env="k8s-prod",namespace="dbs",container="web",metric="cpu",model="zscore",tag="dbs"} 0
anomaly_detected{env="k8s-prod",namespace="das",container="web",metric="cpu",model="zscore",tag="das"} 1
# HELP anomaly_points_total Grid points with a score of 1 or above since the start.
# TYPE anomaly_points_total counter
anomaly_points_total{env="k8s-prod",namespace="dbs",container="web",metric="cpu",model="zscore",tag="dbs"} 0
anomaly_points_total{env="k8s-prod",namespace="das",container="web",metric="cpu",model="zscore",tag="das"} 7
"""


def _two() -> Scores:
    entries = [entry_of("cpu", {"namespace": n, "container": "web"}) for n in ("dbs", "das")]
    return scores_of(entries, detected=np.array([False, True]), points=np.array([0, 7]))


def test_the_page_is_what_this_golden_text_says() -> None:
    assert _page(config_of(exposition={"values": False}), _two()).text.decode() == GOLDEN


def test_every_declared_entity_metric_has_its_column() -> None:
    assert {*COLUMNS, SHAPE} == {spec.name for spec in ENTITY}
    assert set(COLUMNS.values()) <= set(Scores.__dataclass_fields__)


@pytest.mark.parametrize(("values", "most"), [(True, 9), (False, 5)])
def test_an_entity_with_one_feature_takes_at_most_ten_samples(values: bool, most: int) -> None:
    page = _page(config_of(exposition={"values": values}), _two())
    assert page.samples == len(_samples(page.text)) == 2 * most
    assert most <= 10


def test_feature_gauges_add_exactly_the_label_feature_and_contributions_exist_only_for_several() -> None:
    config = config_of({"name": "cpu", "queries": [{"name": "user", "expr": "a"}, {"name": "sys", "expr": "b"}]})
    entries = [entry_of("cpu", {"namespace": "dbs", "container": "web"})]
    contribution = np.array([[0.25, 0.75]], np.float32)
    many = _samples(_page(config, scores_of(entries, ("user", "sys"), contribution=contribution)).text)
    ratios = {s.labels["feature"]: s.value for s in many if s.name == "anomaly_contribution_ratio"}
    assert ratios == {"user": 0.25, "sys": 0.75}
    one = _samples(_page(config_of(), scores_of(entries)).text)
    assert "anomaly_contribution_ratio" not in {s.name for s in one}
    observed = next(s for s in one if s.name == "anomaly_observed_value")
    score = next(s for s in one if s.name == "anomaly_score")
    assert set(observed.labels) - set(score.labels) == {"feature"}


@pytest.mark.parametrize(
    ("profile", "names"),
    [("kps", {"namespace", "container"}), ("openshift", {"target_namespace", "target_container"})],
)
def test_the_label_profile_names_namespace_and_container(profile: str, names: set[str]) -> None:
    samples = _samples(_page(config_of(exposition={"profile": profile}), _two()).text)
    assert {frozenset(s.labels) - {"feature"} for s in samples} == {
        frozenset(names | {"env", "metric", "model", "tag"}),
    }


def test_what_is_not_shown_or_not_finite_is_absent() -> None:
    entries = [entry_of("cpu", {"namespace": n, "container": "web"}) for n in "abc"]
    expected = np.array([[np.nan], [1.0], [1.0]], np.float32)
    scores = scores_of(entries, shown=np.array([True, False, True]), expected=expected)
    samples = _samples(_page(config_of(), scores).text)
    assert "b" not in {s.labels["namespace"] for s in samples}
    assert [s.labels["namespace"] for s in samples if s.name == "anomaly_expected_value"] == ["c"]
    assert all(math.isfinite(s.value) for s in samples)
    assert all(s.timestamp is None for s in samples)


def test_a_constant_tag_routes_every_series_of_the_target() -> None:
    config = config_of({"name": "cpu", "tag": "storage"})
    assert {s.labels["tag"] for s in _samples(_page(config, _two()).text)} == {"storage"}


def test_an_empty_label_value_is_the_same_as_no_label() -> None:
    scores = scores_of([entry_of("cpu", {"namespace": "dbs", "container": ""})])
    assert all("container" not in s.labels for s in _samples(_page(config_of(), scores).text))


def test_families_are_grouped_over_all_packs_and_targets() -> None:
    page = _page(config_of(), _two(), scores_of([entry_of("cpu", {"namespace": "x", "container": "y"})]))
    names = [s.name for s in _samples(page.text)]
    assert sorted(names, key=names.index) == names
    assert page.text.count(b"# TYPE anomaly_score gauge\n") == 1


hostile = st.text(min_size=1, max_size=20).filter(lambda s: s.encode("utf-8", "ignore").decode() == s)


@given(st.lists(st.tuples(hostile, hostile), min_size=1, max_size=5, unique=True), hostile)
def test_hostile_label_values_round_trip_exactly(values: list[tuple[str, str]], tag: str) -> None:
    entries = [entry_of("cpu", {"namespace": a, "container": b}) for a, b in values]
    page = _page(config_of({"name": "cpu", "tag": tag}), scores_of(entries))
    scores = [s for s in _samples(page.text) if s.name == "anomaly_score"]
    assert [(s.labels["namespace"], s.labels["container"]) for s in scores] == values
    assert {s.labels["tag"] for s in scores} == {tag}


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_numbers_are_written_exactly(values: list[float]) -> None:
    entries = [entry_of("cpu", {"namespace": str(i), "container": "c"}) for i in range(len(values))]
    page = _page(config_of(), scores_of(entries, error=np.array(values, np.float32)))
    read = [s.value for s in _samples(page.text) if s.name == "anomaly_reconstruction_error"]
    assert [struct.pack("<d", v) for v in read] == [struct.pack("<d", v) for v in values]


def promtool_complaints(text: bytes) -> str:
    out = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False, timeout=30)
    return (out.stdout + out.stderr).decode() + ("" if out.returncode in (0, 3) else f"exit {out.returncode}")


def test_promtool_has_nothing_to_complain_about() -> None:
    names = ['a"b', "back\\slash", "new\nline", "<script>", "ü\u2028", "}{,="]
    entries = [entry_of("cpu", {"namespace": n, "container": n}) for n in names]
    assert promtool_complaints(_page(config_of(), scores_of(entries)).text) == ""


def test_label_texts_live_as_long_as_their_generation() -> None:
    config = config_of()
    labels, first, second = Labels(config), _two(), _two()

    def render(scores: Scores) -> Iterable[str]:
        view = TargetView("cpu", NOW, NOW, scores=(scores,))
        render_metrics(Snapshot(NOW, (view,)), config, labels)
        labels.sweep()
        return labels.of("cpu", scores.entries)

    assert render(first) is render(first), "texts are made once"
    kept = labels.of("cpu", first.entries)
    labels.sweep()
    render(second)
    assert labels.of("cpu", first.entries) is not kept, "and forgotten with their generation"


def test_ten_thousand_entities_render_within_a_second() -> None:
    config = config_of()
    entries = [entry_of("cpu", {"namespace": f"team-{i % 50}", "container": f"service-{i}"}) for i in range(10_000)]
    packs = [scores_of(entries[i : i + 64]) for i in range(0, len(entries), 64)]
    view = TargetView("cpu", NOW, NOW, scores=tuple(packs))
    labels = Labels(config)
    render_metrics(Snapshot(NOW, (view,)), config, labels)
    began = time.process_time()
    page = render_metrics(Snapshot(NOW, (view,)), config, labels)
    assert page.samples == 90_000
    assert time.process_time() - began < 1.0
