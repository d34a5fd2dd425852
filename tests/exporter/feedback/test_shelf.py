"""Exemplars in the store: read back as they were, replaced entity by entity, refused when damaged."""

from __future__ import annotations

import base64
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anomaly_exporter.blobs import DirectoryBlobs
from anomaly_exporter.feedback import Kept, Shelf, ShelfError
from anomaly_models.exemplars import CONTEXT, MOST, Exemplar
from anomaly_models.frame import EntityKey

A, B = (EntityKey.of("cpu", {"container": name}) for name in "ab")


def kept(statement: str = "cli:1", start: int = 600, rows: int = 3) -> Kept:
    values = np.arange((CONTEXT - 1 + rows) * 2, dtype=np.float32).reshape(-1, 2)
    values[0] = np.nan
    return Kept(statement, Exemplar(start, 60, np.array([1.5, 2.5], np.float32), values))


def same(one: Kept, other: Kept) -> bool:
    a, b = one.exemplar, other.exemplar
    return (one.statement, a.start, a.step) == (other.statement, b.start, b.step) and (
        np.array_equal(a.values, b.values, equal_nan=True) and np.array_equal(a.level, b.level)
    )


def test_exemplars_come_back_as_they_were(tmp_path: Path):
    Shelf(DirectoryBlobs(tmp_path)).replace("cpu", {A: (kept(), kept("page:2", 1200))})
    found = Shelf(DirectoryBlobs(tmp_path)).load("cpu")
    assert list(found) == [A]
    assert all(same(one, other) for one, other in zip(found[A], (kept(), kept("page:2", 1200)), strict=True))
    assert Shelf(DirectoryBlobs(tmp_path)).load("memory") == {}


def test_entities_that_are_not_named_keep_theirs_and_an_empty_tuple_removes(tmp_path: Path):
    shelf = Shelf(DirectoryBlobs(tmp_path))
    shelf.replace("cpu", {A: (kept(),)})
    shelf.replace("cpu", {B: (kept("cli:2"),)})
    assert set(shelf.load("cpu")) == {A, B}
    shelf.replace("cpu", {A: ()})
    assert set(shelf.load("cpu")) == {B}


def test_nothing_to_keep_writes_nothing(tmp_path: Path):
    Shelf(DirectoryBlobs(tmp_path)).replace("cpu", {A: ()})
    assert list(tmp_path.rglob("*.json")) == []


def test_only_the_newest_are_kept(tmp_path: Path):
    shelf = Shelf(DirectoryBlobs(tmp_path))
    shelf.replace("cpu", {A: tuple(kept(f"cli:{i}", 60 * i) for i in range(1, MOST + 5))})
    assert [k.statement for k in shelf.load("cpu")[A]] == [f"cli:{i}" for i in range(5, MOST + 5)]


def test_shards_that_write_at_the_same_time_lose_nothing(tmp_path: Path):
    entities = [EntityKey.of("cpu", {"container": str(i)}) for i in range(12)]

    def write(entity: EntityKey) -> None:
        Shelf(DirectoryBlobs(tmp_path)).replace("cpu", {entity: (kept(),)})

    threads = [threading.Thread(target=write, args=(e,)) for e in entities]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(Shelf(DirectoryBlobs(tmp_path)).load("cpu")) == set(entities)


def document(tmp_path: Path) -> dict[str, Any]:
    Shelf(DirectoryBlobs(tmp_path)).replace("cpu", {A: (kept(),)})
    return dict(json.loads((tmp_path / "exemplars" / "cpu.json").read_bytes()))


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"target": "memory"},
        {"entities": [7]},
        {"values": "!"},
        {"values": base64.b64encode(b"\0" * 12).decode()},
        {"values": base64.b64encode(np.full(200, np.inf, "<f4").tobytes()).decode()},
        {"start": "600"},
        {"step": 0},
        {"level": []},
        {"level": [[1.0]]},
    ],
)
def test_a_damaged_document_is_refused_and_written_anew(tmp_path: Path, change: dict[str, Any]):
    data = document(tmp_path)
    for name, value in change.items():
        place = data if name in data else data["entities"][0]["exemplars"][0]
        place[name] = value
    (tmp_path / "exemplars" / "cpu.json").write_text(json.dumps(data))
    shelf = Shelf(DirectoryBlobs(tmp_path))
    with pytest.raises(ShelfError):
        shelf.load("cpu")
    shelf.replace("cpu", {B: (kept(),)})
    assert set(shelf.load("cpu")) == {B}
