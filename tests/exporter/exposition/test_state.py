"""What stands beside the scores on the pages: shapes of what departs, slopes, times to limits, regimes."""

from __future__ import annotations

import numpy as np

from anomaly_exporter.config import Config
from anomaly_exporter.exposition import DetailCache, Labels, render_detail, render_metrics
from anomaly_exporter.snapshot import Scores, Snapshot, TargetView
from anomaly_models import shapes
from support.snapshots import NOW, config_of, entry_of, scores_of

NAN = np.nan


def _three(features: tuple[str, ...] = ("value",)) -> Scores:
    entries = [entry_of("cpu", {"namespace": n, "container": "web"}) for n in ("crab", "das", "dbs")]
    width = len(features)
    return scores_of(
        entries,
        features,
        detected=np.array([True, True, False]),
        shape=np.array([shapes.LEAK, shapes.NONE, shapes.SPIKE]),
        slope=np.array([[0.5] * width, [-1.0] * width, [NAN] * width]),
        seconds_to_limit=np.array([[3600.0] * width, [NAN] * width, [NAN] * width]),
        regime=np.array([NAN, NOW - 7200.0, NOW - 86400.0]),
        provisional=np.array([1.0, 2.5, 1.0], np.float32),
    )


def _snapshot(scores: Scores) -> Snapshot:
    return Snapshot(NOW, (TargetView("cpu", NOW, NOW, scores=(scores,)),))


def _lines(config: Config, scores: Scores, detail: bool) -> list[str]:
    """Lines of the page that tell of state."""
    labels, snapshot = Labels(config), _snapshot(scores)
    page = render_detail(snapshot, {}, labels, DetailCache()) if detail else render_metrics(snapshot, config, labels)
    known = ("anomaly_shape", "anomaly_trend", "anomaly_seconds_to", "anomaly_regime")
    return [line for line in page.text.decode().splitlines() if line.startswith(known)]


def _labels(namespace: str) -> str:
    return f'env="k8s-prod",namespace="{namespace}",container="web",metric="cpu",model="zscore",tag="{namespace}"'


def test_only_what_departs_and_is_known_has_a_shape_and_only_one() -> None:
    assert _lines(config_of(), _three(), detail=False) == [f'anomaly_shape{{{_labels("crab")},shape="leak"}} 1']


def test_the_detail_page_says_slopes_times_to_limits_and_regimes_and_nothing_that_is_not_known() -> None:
    assert _lines(config_of(), _three(), detail=True) == [
        f'anomaly_trend_per_second{{{_labels("crab")},feature="value"}} 0.5',
        f'anomaly_trend_per_second{{{_labels("das")},feature="value"}} -1.0',
        f'anomaly_seconds_to_limit{{{_labels("crab")},feature="value"}} 3600.0',
        f"anomaly_regime_changed_timestamp_seconds{{{_labels('das')}}} {NOW - 7200.0!r}",
        f"anomaly_regime_changed_timestamp_seconds{{{_labels('dbs')}}} {NOW - 86400.0!r}",
        f"anomaly_regime_threshold_ratio{{{_labels('das')}}} 2.5",
    ]


def test_an_entity_with_one_feature_takes_at_most_ten_samples_when_it_departs() -> None:
    config = config_of()
    page = render_metrics(_snapshot(_three()), config, Labels(config))
    assert page.samples == 3 * 9 + 1


def test_series_that_are_not_shown_have_no_state_and_without_state_nothing_is_said() -> None:
    hidden = _three()
    hidden = scores_of(hidden.entries, shown=np.zeros(3, np.bool_), detected=hidden.detected, shape=hidden.shape)
    for detail in (True, False):
        assert _lines(config_of(), hidden, detail) == []
        assert _lines(config_of(), scores_of(hidden.entries), detail) == []


def test_features_of_several_have_their_own_slopes() -> None:
    config = config_of({"queries": [{"name": "a", "expr": "x"}, {"name": "b", "expr": "y"}]})
    lines = _lines(config, _three(("a", "b")), detail=True)
    assert sum("anomaly_trend_per_second" in line for line in lines) == 4
