"""The comparison: models, thresholds and baselines beside each other, judged by labels that nothing else reads."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from anomaly_exporter.evaluate import Request, run
from anomaly_exporter.evaluate.comparison import FIGURES, Row, mean
from anomaly_exporter.evaluate.data import read
from anomaly_exporter.evaluate.labels import read_labels
from support.labelled import DAY, Folder

GOLDEN = Path(__file__).with_name("golden.txt")
TIMES = re.compile(r"(?m)^(  zscore(?: +[-\d.]+){4}).*$")
"""Seconds differ from run to run: the two last columns of the second table."""

BASELINES = """\
method,dataset,vus_pr,er_pool,er_theta,false_wk_theta,delay_theta_min
rollz,one,0.5,1.0,0.5,2.25,3.0
season,one,0.25,0.0,0.0,,
rollz,elsewhere,0.9,0.9,0.9,0.9,0.9
"""


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    """Two entities of which one has an hour of trouble at its end, and one that is forgiven."""
    path = tmp_path / "series"
    path.mkdir()
    made = Folder(path).add("a").add("b", seed=5)
    made.labels[1]["role"] = "ambiguous"
    made.write()
    return made.label()


def compared(folder: Path, capsys: pytest.CaptureFixture[str], **options: object) -> str:
    assert run(Request(folder, model="zscore", **options)) == 0  # type: ignore[arg-type]
    return capsys.readouterr().out


def test_the_table_is_as_it_was(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "baselines.csv").write_text(BASELINES)
    out = compared(folder, capsys, baselines=tmp_path / "baselines.csv")
    assert TIMES.sub(r"\1", out) == GOLDEN.read_text()


def test_every_threshold_method_has_a_row_and_every_figure_a_column(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compared(folder, capsys, table=tmp_path / "table.csv")
    table = pd.read_csv(tmp_path / "table.csv")
    assert table.columns.tolist() == ["dataset", "model", "threshold", "seed", "shipped", *FIGURES]
    assert {"mean_std", "mad", "p95", "p99"} <= set(table.threshold)
    assert table.shipped.tolist() == [1] + [0] * (len(table) - 1)
    shipped = table.iloc[0]
    counted = shipped[["true_positive", "false_positive", "false_negative", "true_negative"]].sum()
    assert counted == 2 * 288 - 12, "the hour that is neither right nor wrong is not counted"
    assert shipped[list(FIGURES)].notna().all()


def test_the_judge_outside_says_the_same_of_the_file(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = json.loads(compared(folder, capsys, output="json", out=tmp_path / "scores.parquet"))
    (shipped,) = [row for row in out["rows"] if row["shipped"]]
    scores = pd.read_parquet(tmp_path / "scores.parquet").query("entity == 'a'")
    event = scores.timestamp > scores.timestamp.max() - 3600
    assert shipped["event_recall"] == float((scores.score[event] >= 1).any())
    assert shipped["true_positive"] == float((scores.score[event] >= 1).sum())
    assert out["datasets"]["one"]["events"] == 1
    assert out["budget_per_week"] == 1.0


def test_several_models_and_seeds_make_a_row_each_and_a_file_each(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = Request(folder, tmp_path / "s.csv", model="zscore,seasonal", seed=7, seeds=2, table=tmp_path / "t.csv")
    assert run(wanted) == 0
    table = pd.read_csv(tmp_path / "t.csv").query("shipped == 1")
    assert list(zip(table.model, table.seed, strict=True)) == [
        ("zscore", 7),
        ("zscore", 8),
        ("seasonal", 7),
        ("seasonal", 8),
    ]
    files = sorted(path.name for path in tmp_path.glob("s-*.csv"))
    assert files == ["s-seasonal-7.csv", "s-seasonal-8.csv", "s-zscore-7.csv", "s-zscore-8.csv"]
    out = capsys.readouterr().out
    assert "mean of 2 seeds [lowest highest]" in out
    assert len([line for line in out.splitlines() if line.startswith("  zscore *")]) == 1


def test_seeds_are_averaged_and_a_figure_that_one_lacks_is_left_out() -> None:
    rows = [
        Row("d", "m", "p99", seed, True, figures) for seed, figures in ((0, {"mae": 1.0, "r2": 0.5}), (1, {"mae": 3.0}))
    ]
    (one,) = mean(rows)
    assert (one.seed, one.figures) == (None, {"mae": 2.0})


def test_without_labels_there_are_errors_and_costs_but_no_alerts(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "labels.csv").unlink()
    out = compared(folder, capsys)
    assert "one: no labels" in out
    assert "events found" not in out.splitlines()[1]
    assert "above %" in out.splitlines()[1]


@pytest.mark.parametrize(("text", "says"), [("a,b\n1,2\n", "the columns dataset, entity"), ("", "cannot be read")])
def test_labels_that_cannot_be_used_are_told_before_anything_is_fitted(
    folder: Path, capsys: pytest.CaptureFixture[str], text: str, says: str
) -> None:
    (folder / "labels.csv").write_text(text)
    assert run(Request(folder, model="zscore")) == 2
    assert says in capsys.readouterr().err


def test_baselines_that_cannot_be_used_are_told_before_anything_is_fitted(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "baselines.csv").write_text("name,dataset\n")
    assert run(Request(folder, model="zscore", baselines=tmp_path / "baselines.csv")) == 2
    assert "the columns method are missing" in capsys.readouterr().err


def test_labels_beyond_the_test_part_and_of_single_metrics_are_no_events(folder: Path) -> None:
    ((series, _),) = list(read(folder))
    table = pd.read_csv(folder / "labels.csv")
    early = table.iloc[[0]].assign(start=table.start - 2 * DAY, end=table.end - 2 * DAY)
    single = table.iloc[[0]].assign(metric="m00", start=table.start - 7200, end=table.end - 7200)
    pd.concat([table, early, single]).to_csv(folder / "labels.csv", index=False)
    labels = read_labels(folder)
    assert labels is not None
    assert len(labels.truth(series).events) == 1
    assert labels.truth(series).judged.all()


def test_a_picture_is_drawn_around_every_event(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compared(folder, capsys, plots=tmp_path / "plots")
    (picture,) = (tmp_path / "plots").glob("*.svg")
    text = picture.read_text()
    assert text.startswith("<svg xmlns=")
    for word in ("one / a: zscore, found", "observed", "expected", "reconstruction error", "threshold", "1 = alert"):
        assert word in text
    assert "nan" not in text
    assert picture.name in (tmp_path / "plots" / "index.html").read_text()


def test_pictures_need_labels(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "labels.csv").unlink()
    assert run(Request(folder, model="zscore", plots=tmp_path / "plots")) == 2
    assert "no labels.csv" in capsys.readouterr().err


def test_an_entity_without_samples_is_judged_as_silent(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = pd.read_parquet(folder / "one.parquet")
    table.loc[table.entity == "a", "value"] = np.nan
    table.to_parquet(folder / "one.parquet")
    (shipped,) = [r for r in json.loads(compared(folder, capsys, output="json"))["rows"] if r["shipped"]]
    assert shipped["event_recall"] == 0.0
