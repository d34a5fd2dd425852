"""Figures of many models together: recall by shape, and what tuning found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from anomaly_exporter.blobs import DirectoryBlobs
from anomaly_exporter.config import CANARY_TARGET
from anomaly_exporter.generations import tunings
from anomaly_exporter.self_metrics import SelfMetrics
from anomaly_exporter.serve.figures import EVERY, Figures
from anomaly_exporter.snapshot import Snapshot, TargetView
from support.snapshots import NOW, entry_of, scores_of


def view(target: str, *shapes: Any, **fields: Any) -> TargetView:
    entries = [
        entry_of(target, {"container": f"c{i}"}, figures={"injected": {"shapes": found}})
        for i, found in enumerate(shapes)
    ]
    return TargetView(target, NOW, NOW, scores=(scores_of(entries),), **{"generation": 1, **fields})


def published(folder: Path, *views: TargetView) -> SelfMetrics:
    metrics = SelfMetrics()
    Figures(DirectoryBlobs(folder), metrics).publish(Snapshot(NOW, views))
    return metrics


def test_caught_and_injected_anomalies_of_all_series_are_summed_by_shape(tmp_path: Path) -> None:
    cpu = view("cpu", {"spike": [2, 3, 60.0], "dip": [0, 3, None]}, {"spike": [1, 3, 180.0]})
    metrics = published(tmp_path, cpu, view("memory", {"dip": [3, 3, 0.0]}))

    def of(name: str, target: str, shape: str) -> float | None:
        return metrics.value(name, target=target, model="zscore", shape=shape)

    assert of("injected_anomalies", "cpu", "spike") == 6
    assert of("injected_recall_ratio", "cpu", "spike") == 0.5
    assert of("injected_delay_seconds", "cpu", "spike") == 120
    assert of("injected_recall_ratio", "cpu", "dip") == 0
    assert of("injected_delay_seconds", "cpu", "dip") is None
    assert of("injected_recall_ratio", "memory", "dip") == 1
    assert of("injected_recall_ratio", "memory", "spike") is None


def test_what_is_no_figure_and_whose_canary_it_is_are_left_out(tmp_path: Path) -> None:
    odd = view("cpu", None, [], {"spike": "many", "dip": [1, 2], "flat_line": [1, 2, "soon"], "slow_leak": [1, 1, 5]})
    metrics = published(tmp_path, odd, view(CANARY_TARGET, {"spike": [3, 3, 1.0]}))
    text = metrics.render().decode()
    lines = [x for x in text.splitlines() if x.startswith("anomaly_exporter_injected_recall_ratio")]
    assert lines == ['anomaly_exporter_injected_recall_ratio{model="zscore",shape="slow_leak",target="cpu"} 1.0']


def test_a_new_generation_replaces_the_figures(tmp_path: Path) -> None:
    metrics = SelfMetrics()
    figures = Figures(DirectoryBlobs(tmp_path), metrics)
    first = view("cpu", {"spike": [3, 3, 60.0]})
    for shown in (first, first, view("cpu", {"dip": [1, 2, 60.0]}, generation=2)):
        figures.publish(Snapshot(NOW, (shown,)))
    assert metrics.value("injected_recall_ratio", target="cpu", model="zscore", shape="spike") is None
    assert metrics.value("injected_recall_ratio", target="cpu", model="zscore", shape="dip") == 0.5


def test_results_of_tuning_are_looked_for_every_ten_minutes(tmp_path: Path) -> None:
    blobs, metrics, now = DirectoryBlobs(tmp_path), SelfMetrics(), [0.0]
    figures = Figures(blobs, metrics, lambda: now[0])

    def tuned(recall: float) -> dict[str, Any]:
        return {
            "model": "fc",
            "untuned": {"test_recall": 0.5, "mae": 0.25},
            "tuned": {"test_recall": recall, "mae": None},
            "finished_at": 123.0,
        }

    def shown(name: str, **labels: str) -> float | None:
        return metrics.value(f"tuning_{name}", target="cpu", model="fc", **labels)

    snapshot = Snapshot(NOW, (view("cpu", {}),))
    tunings.put(blobs, "cpu", 1.0, tuned(0.75))
    figures.publish(snapshot)
    assert (shown("recall_ratio", variant="untuned"), shown("recall_ratio", variant="tuned")) == (0.5, 0.75)
    assert (shown("error_ratio", variant="untuned"), shown("error_ratio", variant="tuned")) == (0.25, None)
    assert shown("timestamp_seconds") == 123
    tunings.put(blobs, "cpu", 2.0, tuned(1.0))
    now[0] = EVERY - 1
    figures.publish(snapshot)
    assert shown("recall_ratio", variant="tuned") == 0.75
    now[0] = EVERY
    figures.publish(snapshot)
    assert shown("recall_ratio", variant="tuned") == 1.0
