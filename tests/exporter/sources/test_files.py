"""Tables as a source: the layout of the labelled series, checked strictly."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from anomaly_exporter.clock import Clock
from anomaly_exporter.config import Config, FilesConnection, Query, SimulatorConnection, Target
from anomaly_exporter.sources import (
    FilesSource,
    PrometheusSource,
    SimulatorSource,
    SourceAnswerError,
    SourceCounters,
    SourceRejectedError,
    open_source,
)
from anomaly_exporter.workload import Incident
from anomaly_models.frame import EntityKey, Span
from support.shared_data import shared_data

T0 = 1_700_000_040


def target(*exprs: str, **more: object) -> Target:
    queries = tuple(Query(name=f"q{i}", expr=expr) for i, expr in enumerate(exprs))
    base: dict[str, object] = {"name": "t", "metric": "cpu", "labels": ("entity",), "tag": "x", "queries": queries}
    return Target.model_validate({**base, **more})


def table(*rows: tuple[int, str, str, float]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=["timestamp", "entity", "metric", "value"])


ROWS = [(T0 + 60 * i, e, m, float(i + 10 * (m == "mem"))) for e in ("a", "b") for m in ("cpu", "mem") for i in range(5)]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_table_is_read_onto_the_grid(tmp_path: Path, suffix: str) -> None:
    frame = table(*ROWS)
    file = tmp_path / f"x.{suffix}"
    frame.to_csv(file, index=False) if suffix == "csv" else frame.to_parquet(file)
    source = FilesSource(FilesConnection(path=file))
    block = source.read(target("cpu", "mem"), Span(T0 - 60, T0 + 360))
    assert block.entities == (EntityKey.of("t", {"entity": "a"}), EntityKey.of("t", {"entity": "b"}))
    nan = np.nan
    np.testing.assert_array_equal(block.values[:, 0, 0], np.array([nan, 0, 1, 2, 3, 4, nan], np.float32))
    np.testing.assert_array_equal(block.values[:, 1, 1], np.array([nan, 10, 11, 12, 13, 14, nan], np.float32))
    assert source.counters.queries == {"ok": 1}
    assert source.counters.samples == 20
    assert source.lag(target("cpu"), T0 + 130) == 10.0
    assert source.lag(target("cpu"), T0 - 1) is None


def test_tables_of_a_folder_add_up_and_other_tables_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    table((T0, "a", "cpu", 1.0)).to_csv(tmp_path / "deep" / "one.csv", index=False)
    table((T0 + 60, "a", "cpu", 2.0)).to_parquet(tmp_path / "two.parquet")
    (tmp_path / "labels.csv").write_text("dataset,entity,start,end\nx,a,1,2\n")
    block = FilesSource(FilesConnection(path=tmp_path)).read(target("cpu"), Span(T0, T0 + 120))
    assert block.values[:, 0, 0].tolist() == [1.0, 2.0]


def test_a_query_may_select_entities(tmp_path: Path) -> None:
    table(*ROWS).to_parquet(tmp_path / "x.parquet")
    source = FilesSource(FilesConnection(path=tmp_path, entity_label="host"))
    block = source.read(target('cpu{host=~"b|c"}', labels=("host",)), Span(T0, T0 + 60))
    assert block.entities == (EntityKey.of("t", {"host": "b"}),)


@pytest.mark.parametrize(("aggregation", "expected"), [("mean", 1.5), ("sum", 3.0), ("max", 2.0)])
def test_entities_that_share_the_labels_are_aggregated(tmp_path: Path, aggregation: str, expected: float) -> None:
    rows = [(T0, "a", "cpu", 1.0), (T0, "b", "cpu", 2.0), (T0, "c", "cpu", float("nan"))]
    table(*rows).to_parquet(tmp_path / "x.parquet")
    watched = target("cpu", labels=("none",), aggregation=aggregation)
    assert FilesSource(FilesConnection(path=tmp_path)).read(watched, Span(T0, T0 + 60)).values.tolist() == [
        [[expected]]
    ]


def test_a_sample_belongs_to_the_first_instant_not_before_it_and_the_newest_counts(tmp_path: Path) -> None:
    rows = [(T0 - 59, "a", "cpu", 1.0), (T0 - 1, "a", "cpu", 2.0), (T0 + 1, "a", "cpu", 3.0)]
    table(*rows[::-1]).to_csv(tmp_path / "x.csv", index=False)
    block = FilesSource(FilesConnection(path=tmp_path)).read(target("cpu"), Span(T0, T0 + 120))
    assert block.values[:, 0, 0].tolist() == [2.0, 3.0]


def test_what_is_not_finite_is_missing(tmp_path: Path) -> None:
    rows = [(T0 + 60 * i, "a", "cpu", v) for i, v in enumerate((float("inf"), float("nan"), 1.0, 1e300))]
    table(*rows).to_parquet(tmp_path / "x.parquet")
    block = FilesSource(FilesConnection(path=tmp_path)).read(target("cpu"), Span(T0, T0 + 240))
    np.testing.assert_array_equal(block.values[:, 0, 0], np.array([np.nan, np.nan, 1, np.nan], np.float32))


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "x.parquet"
    table((T0, "a", "cpu", 1.0)).to_parquet(file)
    source = FilesSource(FilesConnection(path=file))
    assert source.read(target("cpu"), Span(T0, T0 + 60)).values.tolist() == [[[1.0]]]
    table((T0, "a", "cpu", 2.0)).to_parquet(file)
    os.utime(file, (1, 1))
    assert source.read(target("cpu"), Span(T0, T0 + 60)).values.tolist() == [[[2.0]]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("timestamp,entity,value\n1,a,2\n", r"x.csv: expected the columns .* missing are \['metric'\]"),
        ("a,b\n1,2\n", r"x.csv: expected the columns"),
        ("timestamp,entity,metric,value\n1,a,cpu,one\n", r"x.csv: value must be numbers"),
        ("timestamp,entity,metric,value\n2020-01-01,a,cpu,1\n", r"x.csv: timestamp must be numbers"),
        ("timestamp,entity,metric,value\n1.5,a,cpu,1\n", r"x.csv: timestamps must be whole UTC seconds"),
        ("timestamp,entity,metric,value\n-1,a,cpu,1\n", r"x.csv: timestamps must be whole UTC seconds"),
        ("timestamp,entity,metric,value\n1,,cpu,1\n", r"x.csv: timestamp, entity and metric must not be empty"),
        ("timestamp,entity,metric,value\n1,a,cpu,1\n1,a,cpu,2\n", r"a, cpu: two samples at 1"),
        ("", r"x.csv: cannot be read as a table"),
        ('timestamp,entity,metric,value\n"1,a,cpu,1\n', r"x.csv: cannot be read as a table"),
    ],
)
def test_a_malformed_table_is_refused_and_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(SourceAnswerError, match=message):
        FilesSource(FilesConnection(path=tmp_path / "x.csv")).read(target("cpu"), Span(0, 60))


def test_a_truncated_parquet_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.parquet"
    table(*ROWS).to_parquet(file)
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(SourceAnswerError, match=r"x\.parquet: cannot be read as a table"):
        FilesSource(FilesConnection(path=file)).read(target("cpu"), Span(0, 60))


def test_a_folder_without_tables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceRejectedError, match="expected tables"):
        FilesSource(FilesConnection(path=tmp_path)).read(target("cpu"), Span(0, 60))


@pytest.mark.parametrize(
    ("expr", "message"), [("rate(cpu[5m])", "only Prometheus evaluates"), ('cpu{entity=~"("}', "no regular")]
)
def test_promql_beyond_a_selector_is_refused(tmp_path: Path, expr: str, message: str) -> None:
    table(*ROWS).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(SourceRejectedError, match=f"target 't', query 'q0': .*{message}"):
        FilesSource(FilesConnection(path=tmp_path)).read(target(expr), Span(0, 60))


def test_the_labelled_series_are_read(caplog: pytest.LogCaptureFixture) -> None:
    """The 18 metrics of the Online Boutique pods, as they lie beside the checkout."""
    path = shared_data() / "series" / "nezha_ob.parquet"
    frame = pd.read_parquet(path)
    names = sorted(frame["metric"].unique())
    with caplog.at_level(logging.INFO):
        start = 1_661_155_800
        block = FilesSource(FilesConnection(path=path)).read(target(*names), Span(start, start + 6 * 3600))
    assert block.values.shape == (360, 10, 18)
    assert "180 series with 346923 samples in 1 tables" in caplog.text
    wide = frame[frame["entity"] == "adservice"].pivot(index="timestamp", columns="metric", values="value")
    expected = wide.reindex(block.times)[names].to_numpy(np.float32)
    np.testing.assert_array_equal(block.values[:, 0], expected)


SIMULATED = 'eagle_pod_container_resource_usage_cpu_cores{container!="POD",phase="Running"}'


def test_the_simulator_answers_like_the_cluster_it_simulates() -> None:
    source = SimulatorSource(SimulatorConnection(origin=T0))
    watched = Target(name="t", metric="cpu", queries=(Query(expr=SIMULATED),))
    block = source.read(watched, Span(T0 - 120, T0 + 600))
    assert EntityKey.of("t", {"namespace": "dbs", "container": "dbs2go-global-r"}) in block.entities
    assert np.isnan(block.values[:2]).all()
    assert np.isfinite(block.values[2:]).mean() > 0.9
    live = source.read(watched, Span(T0 + 300, T0 + 360))
    np.testing.assert_array_equal(live.values[0], block.values[7])
    assert source.lag(watched, T0) == 0.0


def test_an_incident_file_changes_the_simulated_series(tmp_path: Path) -> None:
    file = tmp_path / "incident.json"
    source = SimulatorSource(SimulatorConnection(incident_file=file))
    watched = Target(name="t", metric="cpu", queries=(Query(expr=SIMULATED),))
    before = source.read(watched, Span(T0, T0 + 60))
    file.write_text(Incident("dbs", "dbs2go-global-r", T0, T0 + 60, cpu=2.0).to_json())
    after = source.read(watched, Span(T0, T0 + 60))
    hit = before.entities.index(EntityKey.of("t", {"namespace": "dbs", "container": "dbs2go-global-r"}))
    rest = np.arange(len(before.entities)) != hit
    np.testing.assert_array_equal(after.values[:, rest], before.values[:, rest])
    assert after.values[0, hit, 0] > before.values[0, hit, 0] + 1
    file.write_text("{")
    with pytest.raises(SourceRejectedError, match=r"incident\.json: an incident is"):
        source.read(watched, Span(T0, T0 + 60))


def test_the_configuration_names_the_source(tmp_path: Path) -> None:
    queries = [{"name": "t", "metric": "cpu", "queries": [{"expr": "cpu"}]}]

    def opened(**section: object) -> object:
        return open_source(Config.model_validate({**section, "targets": queries}), Clock(), SourceCounters())

    assert isinstance(opened(prometheus={"url": "http://localhost:9090"}), PrometheusSource)
    assert isinstance(opened(files={"path": str(tmp_path)}), FilesSource)
    assert isinstance(opened(simulator={}), SimulatorSource)


def test_reading_prometheus_needs_no_pandas_and_draws_nothing() -> None:
    """The serving process stays small: what prometheus-api-client can do beyond queries is never imported."""
    code = (
        "import sys; from anomaly_exporter.sources import open_source; "
        "print({'pandas', 'matplotlib', 'dateparser', 'sklearn', 'tensorflow', 'pyarrow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
