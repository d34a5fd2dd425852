"""Promises of generations: nothing is lost, nothing is torn, everything can be undone."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_exporter.blobs import BlobError, DirectoryBlobs, StoreFullError
from anomaly_exporter.generations import (
    Generation,
    GenerationError,
    GenerationMissingError,
    GenerationRejectedError,
    Generations,
    GenerationTruncatedError,
    PackMissingError,
)
from anomaly_exporter.generations.documents import from_bytes, to_bytes
from anomaly_models.exceptions import PackError, PackTruncatedError
from anomaly_models.thresholds import Recent, ThresholdInputs
from support.generation_writer import TARGET, a_pack, an_entity, an_entry


class Wall:
    """A wall clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 2_000_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(name="wall")
def _wall() -> Wall:
    return Wall()


@pytest.fixture(name="store")
def _store(tmp_path: Path) -> DirectoryBlobs:
    return DirectoryBlobs(tmp_path)


@pytest.fixture(name="generations")
def _generations(store: DirectoryBlobs, wall: Wall) -> Generations:
    return Generations(store, wall)


def names(generation: Generation | None) -> list[str]:
    assert generation is not None
    return sorted(entity.get("container") for entity, _ in generation.entries)


def age_everything(root: Path, seconds: float, now: float) -> None:
    for path in root.rglob("*"):
        os.utime(path, (now - seconds, now - seconds))


def test_before_the_first_training_there_is_none(generations: Generations) -> None:
    assert generations.current(TARGET) is None
    assert generations.digest(TARGET) is None


def test_what_is_committed_comes_back_to_the_last_digit(generations: Generations) -> None:
    committed = generations.commit(TARGET, [an_entry("a"), an_entry("b", row=1)])
    assert generations.current(TARGET) == committed
    assert committed.entries[an_entity("a"), "fc"] == an_entry("a")


def test_numbers_rise_and_the_digest_changes_with_every_commit(generations: Generations) -> None:
    seen = [(generations.commit(TARGET, [an_entry("a", at=i)]).number, generations.digest(TARGET)) for i in range(5)]
    assert [n for n, _ in seen] == [1, 2, 3, 4, 5]
    assert len({d for _, d in seen}) == 5


def test_a_commit_changes_only_its_own_entities(generations: Generations) -> None:
    generations.commit(TARGET, [an_entry("a", at=1), an_entry("b", at=1)])
    merged = generations.commit(TARGET, [an_entry("b", at=2), an_entry("c", at=2)])
    assert {e.get("container"): x.trained_data_end for (e, _), x in merged.entries.items()} == {"a": 1, "b": 2, "c": 2}


def test_targets_do_not_see_each_other(generations: Generations) -> None:
    generations.commit("cpu", [an_entry("a")])
    generations.commit("memory", [an_entry("b", target="memory")])
    assert names(generations.current("cpu")) == ["a"]
    assert generations.targets() == ["cpu", "memory"]


def test_entities_without_new_data_for_longer_than_the_history_are_forgotten(generations: Generations) -> None:
    generations.commit(TARGET, [an_entry("gone", at=999), an_entry("edge", at=1000)])
    assert names(generations.commit(TARGET, [an_entry("new", at=5000)], forget_before=1000)) == ["edge", "new"]


def test_concurrent_threads_lose_nothing(store: DirectoryBlobs) -> None:
    def write(writer: int) -> None:
        own = Generations(store)
        for i in range(8):
            own.commit(TARGET, [an_entry(f"{writer}-{i}")])

    threads = [threading.Thread(target=write, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert names(Generations(store).current(TARGET)) == sorted(f"{w}-{i}" for w in range(6) for i in range(8))


WRITE_SOME = """
import sys
from pathlib import Path
from typing import Any
from support.generation_writer import TARGET, an_entry
from anomaly_exporter.blobs import DirectoryBlobs
from anomaly_exporter.generations import Generations
generations = Generations(DirectoryBlobs(Path(sys.argv[1])))
for i in range(10):
    generations.commit(TARGET, [an_entry(f"{sys.argv[2]}-{i}")])
"""


def _python(*arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    return subprocess.Popen(
        [sys.executable, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_concurrent_processes_lose_nothing(tmp_path: Path) -> None:
    writers = [_python("-c", WRITE_SOME, str(tmp_path), str(w)) for w in range(3)]
    for writer in writers:
        _, errors = writer.communicate(timeout=60)
        assert writer.returncode == 0, errors
    held = names(Generations(DirectoryBlobs(tmp_path)).current(TARGET))
    assert held == sorted(f"{w}-{i}" for w in range(3) for i in range(10))


def test_thirty_kills_leave_the_last_good_generation_and_only_orphans_to_sweep(tmp_path: Path) -> None:
    """Writers are killed by SIGKILL at random moments; the nursery checks the store after every kill."""
    nursery = _python("-m", "support.generation_writer", str(tmp_path), "30")
    output, errors = nursery.communicate(timeout=60)
    assert nursery.returncode == 0, errors
    assert int(output) >= 30, "the writers must have got somewhere for the kills to mean something"
    store = DirectoryBlobs(tmp_path)
    generations = Generations(store)
    store.sweep()
    age_everything(tmp_path, 7200, generations._wall())
    generations.prune(TARGET, keep=2)
    current = generations.current(TARGET)
    assert current is not None
    kept = {name.split("/")[1] for name in store.list("packs/")}
    assert current.packs <= kept
    assert len(kept) <= 2
    assert [p for p in tmp_path.rglob(".*") if p.name.startswith(".tmp")] == []


def test_a_writer_killed_between_document_and_pointer_blocks_nobody(generations: Generations) -> None:
    generations.commit(TARGET, [an_entry("a")])
    with mock.patch.object(DirectoryBlobs, "swap", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        generations.commit(TARGET, [an_entry("lost")])
    after = generations.commit(TARGET, [an_entry("b")])
    assert names(after) == ["a", "b"]
    assert after.number == 3


def test_a_full_store_keeps_what_is_in_force(generations: Generations) -> None:
    before = generations.commit(TARGET, [an_entry("a")])
    with mock.patch.object(DirectoryBlobs, "put", side_effect=StoreFullError("full")), pytest.raises(BlobError):
        generations.commit(TARGET, [an_entry("b")])
    assert generations.current(TARGET) == before


@pytest.mark.parametrize(
    "wrong", [{"row": 64}, {"pack": "../x"}, {"threshold": ThresholdInputs(Recent(0, float("nan"), 0))}], ids=str
)
def test_what_could_not_be_read_back_is_not_committed(generations: Generations, wrong: dict[str, Any]) -> None:
    before = generations.commit(TARGET, [an_entry("a")])
    with pytest.raises(GenerationRejectedError):
        generations.commit(TARGET, [an_entry("b"), replace(an_entry("c"), **wrong)])
    assert generations.current(TARGET) == before


def test_packs_come_back_from_the_store_and_a_second_put_is_welcome(generations: Generations) -> None:
    encoded = a_pack()
    generations.put_pack(encoded)
    generations.put_pack(encoded)
    pack = generations.open_pack(encoded.digest)
    assert pack.kind == "zscore"
    assert len(pack.rows) == 2
    assert not pack.tensors["center"].flags.writeable


def test_thousands_of_small_tensors_hold_no_open_file(generations: Generations) -> None:
    encoded = a_pack()
    generations.put_pack(encoded)
    before = len(list(Path("/proc/self/fd").iterdir()))
    held = [generations.open_pack(encoded.digest) for _ in range(50)]
    assert len(held) == 50
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


def test_a_missing_pack_says_missing(generations: Generations) -> None:
    with pytest.raises(PackMissingError) as caught:
        generations.open_pack("0" * 64)
    assert caught.value.reason == "missing"


@pytest.mark.parametrize("left", [0, 1, 100])
@pytest.mark.parametrize("file", ["pack.json", "center.npy"])
def test_a_truncated_pack_says_truncated(generations: Generations, tmp_path: Path, file: str, left: int) -> None:
    encoded = a_pack()
    generations.put_pack(encoded)
    path = tmp_path / "packs" / encoded.digest / file
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(PackTruncatedError) as caught:
        generations.open_pack(encoded.digest)
    assert caught.value.reason == "truncated"


def test_a_pack_that_grew_says_rejected(generations: Generations, tmp_path: Path) -> None:
    encoded = a_pack()
    generations.put_pack(encoded)
    with (tmp_path / "packs" / encoded.digest / "center.npy").open("ab") as file:
        file.write(b"x")
    with pytest.raises(PackError) as caught:
        generations.open_pack(encoded.digest)
    assert caught.value.reason == "rejected"


def test_a_directory_in_place_of_a_tensor_is_a_pack_error(generations: Generations, tmp_path: Path) -> None:
    encoded = a_pack()
    generations.put_pack(encoded)
    path = tmp_path / "packs" / encoded.digest / "center.npy"
    path.unlink()
    path.mkdir()
    with pytest.raises(PackError):
        generations.open_pack(encoded.digest)


def _damage(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "generations" / TARGET / "1.json").write_bytes(data)


def test_a_truncated_generation_says_truncated(generations: Generations, tmp_path: Path) -> None:
    generations.commit(TARGET, [an_entry("a")])
    _damage(tmp_path, (tmp_path / "generations" / TARGET / "1.json").read_bytes()[:-10])
    with pytest.raises(GenerationTruncatedError) as caught:
        generations.current(TARGET)
    assert caught.value.reason == "truncated"


def test_a_changed_generation_says_rejected(generations: Generations, tmp_path: Path) -> None:
    generations.commit(TARGET, [an_entry("a")])
    _damage(tmp_path, b"{}\n")
    with pytest.raises(GenerationRejectedError, match="SHA-256"):
        generations.current(TARGET)


def test_a_lost_generation_says_missing(generations: Generations, tmp_path: Path) -> None:
    generations.commit(TARGET, [an_entry("a")])
    (tmp_path / "generations" / TARGET / "1.json").unlink()
    with pytest.raises(GenerationMissingError):
        generations.current(TARGET)


@pytest.mark.parametrize("raw", [b"", b"[]", b"null", b'{"number": "x"}', b"\xff"])
def test_a_damaged_pointer_is_a_generation_error(generations: Generations, tmp_path: Path, raw: bytes) -> None:
    generations.commit(TARGET, [an_entry("a")])
    (tmp_path / "generations" / TARGET / "current").write_bytes(raw)
    with pytest.raises(GenerationRejectedError, match="not a pointer"):
        generations.digest(TARGET)


def test_training_heals_a_damaged_generation_from_the_newest_readable_one(
    generations: Generations, tmp_path: Path, wall: Wall
) -> None:
    generations.commit(TARGET, [an_entry("a")])
    wall.now += 7200
    generations.commit(TARGET, [an_entry("b")])
    (tmp_path / "generations" / TARGET / "2.json").write_bytes(b"")
    healed = generations.commit(TARGET, [an_entry("c")])
    assert names(healed) == ["a", "c"]
    assert generations.current(TARGET) == healed


def test_rollback_returns_to_the_generation_before_under_a_new_number(generations: Generations, wall: Wall) -> None:
    for i in range(3):
        wall.now += 7200
        generations.commit(TARGET, [an_entry("a", at=i)])
    first, second = generations.rollback(TARGET), generations.rollback(TARGET)
    assert [g.entries[an_entity("a"), "fc"].trained_data_end for g in (first, second)] == [1, 0]
    assert [first.number, second.number] == [4, 5]
    assert generations.current(TARGET) == second
    with pytest.raises(GenerationMissingError):
        generations.rollback(TARGET)


def test_rollback_without_any_generation_says_so(generations: Generations) -> None:
    with pytest.raises(GenerationMissingError, match="no earlier generation"):
        generations.rollback(TARGET)


def test_commits_of_one_round_of_training_are_rolled_back_together(generations: Generations, wall: Wall) -> None:
    generations.commit(TARGET, [an_entry("a", at=1), an_entry("b", at=1)])
    wall.now += 7200
    began = wall.now
    for name in ("a", "b"):
        wall.now += 60
        generations.commit(TARGET, [an_entry(name, at=2)], began=began)
    back = generations.rollback(TARGET)
    assert {x.trained_data_end for x in back.entries.values()} == {1}


def test_overlapping_trainers_make_one_round_but_not_for_ever(generations: Generations, wall: Wall) -> None:
    """A trainer that begins before another's last commit belongs to its round, within the longest round."""
    generations.commit(TARGET, [an_entry("a", at=0)])
    wall.now += 7200
    numbers = []
    for i in range(1, 6):
        began = wall.now
        wall.now += 1700
        numbers.append(generations.commit(TARGET, [an_entry("a", at=i)], began=began).previous)
    assert numbers == [1, 1, 1, 4, 4]


def test_pruning_keeps_the_newest_rounds_and_their_packs(
    generations: Generations, store: DirectoryBlobs, wall: Wall, tmp_path: Path
) -> None:
    packs = [a_pack(i) for i in range(5)]
    for pack in packs:
        wall.now += 7200
        generations.put_pack(pack)
        generations.commit(TARGET, [an_entry("a", pack.digest)])
    age_everything(tmp_path, 7200, wall.now)
    pruned = generations.prune(TARGET, keep=3)
    assert (pruned.generations, pruned.packs) == (2, 2)
    assert {n.split("/")[1] for n in store.list("packs/")} == {p.digest for p in packs[2:]}
    assert generations.rollback(TARGET).packs == {packs[3].digest}
    assert generations.rollback(TARGET).packs == {packs[2].digest}


def test_pruning_spares_what_other_targets_use(
    generations: Generations, store: DirectoryBlobs, wall: Wall, tmp_path: Path
) -> None:
    pack = a_pack()
    generations.put_pack(pack)
    generations.commit("memory", [an_entry("a", pack.digest, target="memory")])
    generations.commit(TARGET, [an_entry("a", a_pack(9).digest)])
    age_everything(tmp_path, 7200, wall.now)
    assert generations.prune(TARGET, keep=2).packs == 0
    assert store.list("packs/")


@pytest.mark.parametrize(("age", "removed"), [(3599, 0), (3601, 1)])
def test_an_orphan_pack_is_removed_only_after_the_grace_period(
    generations: Generations, wall: Wall, tmp_path: Path, age: float, removed: int
) -> None:
    generations.commit(TARGET, [an_entry("a")])
    generations.put_pack(a_pack())
    age_everything(tmp_path, age, wall.now)
    assert generations.prune(TARGET, keep=2, grace=3600).packs == removed


def test_nothing_is_pruned_while_the_generation_in_force_cannot_be_read(
    generations: Generations, store: DirectoryBlobs, wall: Wall, tmp_path: Path
) -> None:
    for i in range(4):
        wall.now += 7200
        generations.put_pack(a_pack(i))
        generations.commit(TARGET, [an_entry("a", a_pack(i).digest)])
    (tmp_path / "generations" / TARGET / "4.json").write_bytes(b"")
    age_everything(tmp_path, 7200, wall.now)
    before = store.list("packs/")
    pruned = generations.prune(TARGET, keep=2)
    assert (pruned.generations, pruned.packs) == (0, 0)
    assert store.list("packs/") == before


def test_pruning_an_empty_store_removes_nothing(generations: Generations) -> None:
    assert generations.prune(TARGET, keep=2).packs == 0


GOLDEN = Generation(3, TARGET, 2.5, 1.5, 1, {an_entry("a").key: an_entry("a")})


def test_the_document_is_stable_json() -> None:
    text = to_bytes(GOLDEN).decode()
    assert text.startswith('{"created_at":2.5,"entries":[{"data_digest":"d","evaluated_at":1700000001.0,"figures":')
    assert text.endswith("}\n")


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    data = bytearray(to_bytes(GOLDEN))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data) - 1))
        data[at] = draw(st.integers(0, 255))
    if draw(st.booleans()):
        del data[draw(st.integers(0, len(data))) :]
    return bytes(data)


@given(_damaged())
@settings(max_examples=300, deadline=None)
def test_a_damaged_document_is_a_generation_error_or_a_generation(data: bytes) -> None:
    """Even when the pointer's hash was forged to fit."""
    with suppress(GenerationError):
        assert isinstance(from_bytes(data, hashlib.sha256(data).hexdigest(), TARGET), Generation)
