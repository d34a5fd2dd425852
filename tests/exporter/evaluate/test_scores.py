"""Promises of ``anomaly-exporter evaluate``."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest

from anomaly_exporter.config import ConfigError
from anomaly_exporter.evaluate import Request, run
from anomaly_exporter.evaluate.data import DataError, Series, read
from anomaly_exporter.evaluate.fleets import fleets, score
from anomaly_exporter.evaluate.methods import method_of
from support.labelled import DAY, YEAR_2022, Folder
from support.shared_data import shared_data


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Folder:
    (tmp_path / "series").mkdir()
    return Folder(tmp_path / "series")


def evaluated(folder: Path, model: str = "pca", **options: object) -> pd.DataFrame:
    out = folder.parent / "scores.parquet"
    assert run(Request(folder, out, model=model, **options)) == 0  # type: ignore[arg-type]
    return pd.read_parquet(out)


def only(folder: Path) -> Series:
    ((series,),) = list(read(folder))
    return series


def test_every_test_timestamp_gets_a_score_and_the_fault_alerts(folder: Folder) -> None:
    scores = evaluated(folder.add("a").add("b", seed=5).write())
    assert list(scores.columns) == ["dataset", "entity", "timestamp", "score"]
    assert len(scores) == 2 * 288
    assert np.isfinite(scores.score).all()
    for _, own in scores.groupby("entity"):
        fault = own.timestamp >= own.timestamp.max() - 3600 + 300
        assert (own.score[fault] >= 1).any()
        assert (own.score[~fault] < 1).all()


@pytest.mark.parametrize("per_entity", [False, True])
def test_one_table_per_set_and_one_per_entity_read_alike(folder: Folder, per_entity: bool) -> None:
    path = folder.add("a", metrics=3).write(per_entity)
    series = only(path)
    assert series.features == ("m00", "m01", "m02")
    assert series.values.shape == (4 * 288, 3)


@pytest.mark.parametrize(
    ("step", "train", "start"),
    [
        (60, 3 * 3600, YEAR_2022 + 17),
        (300, 3 * 3600, YEAR_2022),
        (3600, 10 * DAY, YEAR_2022 + 1234),
        (900, 40 * DAY, 0),
        (420, 3 * DAY, YEAR_2022 + 5),
    ],
)
def test_steps_of_a_minute_to_an_hour_and_three_hours_to_forty_days_work(
    folder: Folder, step: int, train: int, start: int
) -> None:
    scores = evaluated(folder.add("a", step=step, train=train, start=start).write())
    assert np.isfinite(scores.score).all()
    assert (scores.score > 0).any()


def test_38_metrics_work(folder: Folder) -> None:
    scores = evaluated(folder.add("a", metrics=38).write())
    assert (scores.score[-10:] >= 1).any()


def test_the_feature_file_has_a_row_per_metric_and_names_the_one_at_fault(folder: Folder, tmp_path: Path) -> None:
    path = folder.add("a", metrics=3).write()
    table = pd.read_parquet(path / "one.parquet")
    table.loc[(table.metric == "m01") & (table.timestamp >= table.timestamp.max() - 3000), "value"] += 50
    table.to_parquet(path / "one.parquet")
    scores = evaluated(path, per_feature=tmp_path / "features.parquet")
    features = pd.read_parquet(tmp_path / "features.parquet")
    assert list(features.columns) == ["dataset", "entity", "metric", "timestamp", "score"]
    assert len(features) == 3 * len(scores)
    last = features[features.timestamp == features.timestamp.max()].set_index("metric").score
    assert last.idxmax() == "m01"


def test_timestamps_off_the_grid_are_laid_on_it_and_written_as_they_were(folder: Folder) -> None:
    path = folder.add("a", start=YEAR_2022 + 77, jitter=20).write()
    series = only(path)
    assert np.isfinite(series.values).all()
    scores = evaluated(path)
    table = pd.read_parquet(path / "one.parquet")
    assert scores.timestamp.tolist() == sorted(table.timestamp)[-288:]


def test_of_two_samples_at_one_instant_the_first_counts(folder: Folder) -> None:
    path = folder.add("a").write()
    table = pd.read_parquet(path / "one.parquet")
    extra = table.iloc[[-1]].assign(timestamp=table.timestamp.max() - 290, value=1e6)
    pd.concat([table, extra]).to_parquet(path / "one.parquet")
    series = only(path)
    assert np.nanmax(series.values) < 100
    assert len(series.test_times) == 289
    assert series.test_rows[-1] == series.test_rows[-2] + 1 == series.test_rows[-3] + 1


def test_samples_of_the_test_part_are_never_learned(folder: Folder) -> None:
    path = folder.add("a").write()
    before = evaluated(path)
    table = pd.read_parquet(path / "one.parquet")
    late = table.timestamp >= table.timestamp.max() - DAY / 2
    table.loc[late, "value"] = 1e9
    table.to_parquet(path / "one.parquet")
    after = evaluated(path)
    early = before.timestamp < table.timestamp[late].min()
    np.testing.assert_array_equal(before.score[early], after.score[early])


def test_labels_change_no_score(folder: Folder) -> None:
    path = folder.add("a").write()
    before = evaluated(path)
    folder.label()
    pd.testing.assert_frame_equal(before, evaluated(path))


def test_an_entity_scores_the_same_beside_one_of_another_year(folder: Folder, tmp_path: Path) -> None:
    """Fleets lay their members on one grid by whole weeks; a daily profile must not notice."""
    both = folder.add("a", train=5 * DAY).add("b", start=YEAR_2022 + 400 * DAY + 600, train=6 * DAY, seed=9).write()
    together = evaluated(both, "seasonal")
    alone = evaluated(both, "seasonal", entities=["b"])
    own = together[together.entity == "b"].score.to_numpy()
    np.testing.assert_allclose(own, alone.score.to_numpy(), rtol=1e-5)
    assert (own[:-12] < 1).all()


def test_entities_of_one_shape_share_a_fleet_and_others_do_not(folder: Folder) -> None:
    path = folder.add("a").add("b", seed=1).add("c", step=600).add("d", metrics=2).add("e", train=3 * 3600).write()
    (series,) = list(read(path))
    groups = [sorted(s.entity for s in fleet) for _, fleet in fleets(series, method_of(None, "pca", None).plan)]
    assert sorted(groups) == [["a", "b"], ["c"], ["d"], ["e"]]


def test_a_short_history_shortens_the_window(folder: Folder) -> None:
    (series,) = list(read(folder.add("a", train=3 * 3600).write()))
    ((plan, _),) = list(fleets(series, method_of(None, "pca", None).plan))
    assert plan.model.window == 9


def test_an_entity_that_cannot_be_trained_scores_0_and_is_named(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    path = folder.add("a").add("dead", seed=3).write()
    table = pd.read_parquet(path / "one.parquet")
    table.loc[table.entity == "dead", "value"] = np.nan
    table.to_parquet(path / "one.parquet")
    scores = evaluated(path)
    assert (scores[scores.entity == "dead"].score == 0).all()
    assert (scores[scores.entity == "a"].score > 0).any()
    (record,) = [r for r in caplog.records if r.getMessage() == "fell back"]
    assert (record.entity, record.note) == ("dead", "no_data: score 0")  # type: ignore[attr-defined]


def test_a_model_that_finds_no_windows_falls_back_to_zscore(folder: Folder) -> None:
    path = folder.add("a", step=60, train=3 * 3600).write()
    table = pd.read_parquet(path / "one.parquet").iloc[::6]
    table.to_parquet(path / "one.parquet")
    (series,) = list(read(path))
    method = method_of(None, "pca", None)
    ((plan, fleet),) = list(fleets(series, method.plan))
    (found,) = score(plan, method.alert, fleet)
    assert found.note.startswith("no_windows: ")


def test_a_recipe_too_wide_for_its_data_falls_back_to_zscore(folder: Folder) -> None:
    (series,) = list(read(folder.add("a", metrics=90).write()))
    method = method_of(None, "pca", None)
    ((plan, fleet),) = list(fleets(series, method.plan))
    (found,) = score(plan, method.alert, fleet)
    assert "2048" in found.note
    assert found.note.endswith(": zscore instead")
    assert found.alerting.max() >= 1


def test_without_tensorflow_an_autoencoder_is_exit_2_and_says_what_to_install(
    folder: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = dict.fromkeys(("tensorflow", "anomaly_models.keras_training"))
    with mock.patch.dict(sys.modules, missing):
        assert run(Request(folder.add("a").write(), tmp_path / "out.parquet", model="fc")) == 2
    assert "anomaly-exporter[train-cpu]" in capsys.readouterr().err


def test_the_same_seed_gives_the_same_scores(folder: Folder) -> None:
    path = folder.add("a").write()
    pd.testing.assert_frame_equal(evaluated(path, seed=3), evaluated(path, seed=3))
    assert method_of(None, "fc", 3).plan.model.seed == 3


def test_a_configuration_names_models_and_its_sections_count(tmp_path: Path) -> None:
    from anomaly_exporter.config import parse

    config = parse(
        "files: {path: x}\nmodels: {mine: {recipe: cnn, window: 30}}\nalerting: {persistence: 5}\n"
        "threshold: {base: p99}\ntargets: [{name: t, metric: m, queries: [{expr: x}]}]\n"
    )
    method = method_of(config, "mine", None)
    assert (method.plan.model.recipe, method.plan.model.window) == ("cnn", 30)
    assert method.plan.threshold.base == "p99"
    assert method.plan.persistence == method.alert.persistence == 5
    with pytest.raises(ConfigError, match="received 'yours'"):
        method_of(config, "yours", None)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"model": "magic"}, "received 'magic'"),
        ({"datasets": ["two"]}, "dataset two is not in"),
        ({"entities": ["z"]}, "entity z is not in"),
    ],
)
def test_wrong_options_are_exit_2_with_the_reason(
    folder: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: dict[str, object], says: str
) -> None:
    path = folder.add("a").write()
    assert run(Request(path, tmp_path / "out.parquet", **options)) == 2  # type: ignore[arg-type]
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out.parquet").exists()


def test_a_folder_of_something_else_is_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(Request(tmp_path, tmp_path / "out.parquet")) == 2
    assert "segments.csv: cannot be read" in capsys.readouterr().err
    (tmp_path / "segments.csv").write_text("dataset,entity\n")
    assert run(Request(tmp_path, tmp_path / "out.parquet")) == 2
    assert "the columns step_s, train_start" in capsys.readouterr().err


def test_an_entity_without_samples_is_named(folder: Folder) -> None:
    path = folder.add("a").write()
    (path / "one.parquet").unlink()
    with pytest.raises(DataError, match="no samples of a"):
        list(read(path))


def test_an_unwritable_output_is_exit_5(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert run(Request(folder.add("a").write(), tmp_path / "file" / "out.parquet", model="zscore")) == 5


def test_a_csv_is_written_when_asked_for(folder: Folder, tmp_path: Path) -> None:
    assert run(Request(folder.add("a").write(), tmp_path / "out.csv", model="zscore")) == 0
    assert pd.read_csv(tmp_path / "out.csv").columns.tolist() == ["dataset", "entity", "timestamp", "score"]


def test_the_judge_reads_what_we_write_and_sees_better_than_chance(tmp_path: Path) -> None:
    data = shared_data()
    out = tmp_path / "pca.parquet"
    assert run(Request(data / "series", out, model="pca", datasets=["nab"])) == 0
    spec = importlib.util.spec_from_file_location("judge", data / "evaluate.py")
    assert spec is not None
    assert spec.loader is not None
    judge = importlib.util.module_from_spec(spec)
    sys.modules["judge"] = judge
    spec.loader.exec_module(judge)
    segments = pd.read_csv(data / "series" / "segments.csv").query("dataset == 'nab'")
    labels = pd.read_csv(data / "series" / "labels.csv")
    stamps = judge.stamps(str(data / "series"), segments)
    units, missing = judge.units(segments, labels, stamps, pd.read_parquet(out))
    assert missing == []
    scores = pd.read_parquet(out).groupby("entity").timestamp.apply(lambda t: t.to_numpy())
    assert all(np.array_equal(np.sort(scores[e]), t) for (_, e), t in stamps.items())
    table, _ = judge.judge(units, 1.0, 1.0, fast=True)
    assert table.auc_pr.iloc[0] > table.base.iloc[0]
