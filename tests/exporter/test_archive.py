"""History as a table: what is exported can be loaded elsewhere and trained on."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from anomaly_exporter.archive import run_export, run_load
from anomaly_exporter.blobs import DirectoryBlobs
from anomaly_exporter.config import Config, load
from anomaly_exporter.history import History
from anomaly_models.frame import Block, EntityKey

NOW = 1_700_000_000 // 60 * 60
CONFIG = """
prometheus: {{url: "http://127.0.0.1:9"}}
store: {{path: {store}}}
timing: {{speed: 1, wall_origin: {wall}, data_origin: {data}}}
targets: [{{name: web, metric: cpu, queries: [{{name: cpu, expr: web_cpu}}]}}]
"""


@pytest.fixture(name="site")
def _site(tmp_path: Path) -> tuple[Path, Config]:
    """A configuration whose clock stands shortly after the samples of its history were read."""
    return _written(tmp_path / "a")


def _written(folder: Path) -> tuple[Path, Config]:
    folder.mkdir()
    path = folder / "config.yaml"
    path.write_text(CONFIG.format(store=folder / "store", wall=int(time.time()), data=NOW))
    return path, load(path).config


def samples(config: Config) -> Block:
    entity = EntityKey.of("web", {"namespace": 'a "quoted", name', "container": "c"})
    values = np.random.default_rng(0).normal(size=(50, 1, 1)).astype(np.float32)
    values[7] = np.nan
    return Block(NOW - 3600 * 5, 60, (entity,), ("cpu",), values)


def test_an_exported_history_loads_elsewhere_bit_for_bit(site: tuple[Path, Config], tmp_path: Path) -> None:
    path, config = site
    target, block = config.target("web"), samples(config)
    History(DirectoryBlobs(config.store.path)).append(target, block)
    table = tmp_path / "web.csv"
    assert run_export(path, "web", table) == 0
    assert table.read_text().splitlines()[0] == "timestamp,container,namespace,cpu"

    elsewhere, other = _written(tmp_path / "b")
    assert run_load(elsewhere, "web", table) == 0
    loaded = History(DirectoryBlobs(other.store.path)).read(other.target("web"), block.span)
    np.testing.assert_array_equal(loaded.values, block.values)
    assert loaded.entities == block.entities


def test_a_wrong_table_or_target_ends_with_code_2_and_changes_nothing(
    site: tuple[Path, Config], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, _ = site
    table = tmp_path / "bad.csv"
    table.write_text("timestamp,container,namespace,cpu\n61,c,n,1\n")
    assert run_load(path, "web", table) == 2
    assert run_export(path, "nonsense", tmp_path / "out.csv") == 2
    errors = [str(getattr(r, "error", "")) for r in caplog.records]
    assert any("expected a timestamp that is a multiple of 60 s, received 61" in e for e in errors)
    assert any("there is no target 'nonsense'; known are ['web']" in e for e in errors)
    assert not (tmp_path / "out.csv").exists()
