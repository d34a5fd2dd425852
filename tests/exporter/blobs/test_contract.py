"""What every store promises: in a directory and in a bucket the same."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from anomaly_exporter.blobs import BlobExistsError, BlobMissingError, BlobNameError, Blobs, DirectoryBlobs, digest
from anomaly_exporter.blobs.s3 import S3Blobs, connect
from anomaly_exporter.config import S3Store
from anomaly_exporter.generations import Generations
from support.fake_s3 import FakeS3, served_s3
from support.snapshots import entry_of

Another = Callable[[], Blobs]
WRITERS = 8


@pytest.fixture(params=["directory", "s3"])
def another(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Another]:
    """Makes one more process' view of the same store."""
    if request.param == "directory":
        yield lambda: DirectoryBlobs(tmp_path / "store")
        return
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    s3 = FakeS3(page=7)
    caches = iter(range(1000))
    with served_s3(s3) as url:
        settings = S3Store(bucket=s3.bucket, prefix="team/one", endpoint=url, region="eu-west-1")
        yield lambda: S3Blobs(connect(settings), tmp_path / f"cache{next(caches)}")


@pytest.fixture
def blobs(another: Another) -> Blobs:
    return another()


def test_what_was_put_is_fetched_by_everybody(blobs: Blobs, another: Another) -> None:
    blobs.put("packs/ab/pack.json", b"{}")
    assert blobs.fetch("packs/ab/pack.json").read_bytes() == b"{}"
    assert another().fetch("packs/ab/pack.json").read_bytes() == b"{}"


def test_a_missing_blob_is_named(blobs: Blobs) -> None:
    with pytest.raises(BlobMissingError, match=r"packs/none: not in the store"):
        blobs.fetch("packs/none")


def test_put_never_overwrites(blobs: Blobs, another: Another) -> None:
    blobs.put("a", b"first")
    for store in (blobs, another()):
        with pytest.raises(BlobExistsError, match="a: already stored"):
            store.put("a", b"second")
    assert blobs.fetch("a").read_bytes() == b"first"


def test_list_gives_names_with_the_prefix_sorted_and_nothing_else(blobs: Blobs) -> None:
    names = ["h/b/1", "h/b/2", "h/bc", "other", *(f"many/{i:02}" for i in range(20))]
    for name in reversed(names):
        blobs.put(name, b"x")
    assert blobs.list("h/b") == ["h/b/1", "h/b/2", "h/bc"]
    assert blobs.list("h/b/") == ["h/b/1", "h/b/2"]
    assert blobs.list("") == sorted(names)
    assert blobs.list("many/") == names[4:]
    assert blobs.list("nowhere/") == []


@pytest.mark.parametrize("name", ["", "/a", "a//b", "../a", ".hidden", "a b", "a@1", "ü", "x" * 300])
def test_names_that_could_leave_the_store_are_refused(blobs: Blobs, name: str) -> None:
    for use in (blobs.fetch, blobs.remove, lambda n: blobs.put(n, b""), lambda n: blobs.swap(n, None, b"")):
        with pytest.raises(BlobNameError, match="a blob name is made of parts"):
            use(name)


def test_swap_replaces_only_what_the_caller_has_seen(blobs: Blobs, another: Another) -> None:
    assert not blobs.swap("pointer", digest(b"something"), b"1")
    assert blobs.swap("pointer", None, b"1")
    assert not another().swap("pointer", None, b"2")
    assert not blobs.swap("pointer", digest(b"0"), b"2")
    assert blobs.fetch("pointer").read_bytes() == b"1"
    assert another().swap("pointer", digest(b"1"), b"2")
    assert blobs.fetch("pointer").read_bytes() == b"2"


def test_a_swap_by_another_process_is_seen_at_once_also_right_after_a_listing(blobs: Blobs, another: Another) -> None:
    other = another()
    assert blobs.swap("t/pointer", None, b"1")
    for i in range(1, 4):
        now = blobs.fetch("t/pointer").read_bytes()
        blobs.list("t/")
        assert other.swap("t/pointer", digest(now), str(i + 1).encode())
        assert not blobs.swap("t/pointer", digest(now), b"lost")
        assert blobs.fetch("t/pointer").read_bytes() == str(i + 1).encode()


def test_a_fetched_file_keeps_its_bytes_while_the_blob_changes(blobs: Blobs) -> None:
    """A reader has it open or mapped."""
    blobs.swap("pointer", None, b"old")
    with blobs.fetch("pointer").open("rb") as file:
        blobs.swap("pointer", digest(b"old"), b"new")
        blobs.fetch("pointer")
        assert file.read() == b"old"


def test_a_removed_blob_is_gone_for_everybody_and_its_name_is_free(blobs: Blobs, another: Another) -> None:
    other = another()
    blobs.put("a", b"1")
    assert other.fetch("a").read_bytes() == b"1"
    blobs.remove("a")
    blobs.remove("a")
    assert blobs.list("") == other.list("") == []
    with pytest.raises(BlobMissingError):
        other.fetch("a")
    blobs.put("a", b"2")
    assert other.fetch("a").read_bytes() == b"2"


def test_no_increment_of_concurrent_writers_is_lost(blobs: Blobs, another: Another) -> None:
    blobs.put("counter", b"0")

    def count() -> None:
        own, done = another(), 0
        while done < 10:
            now = own.fetch("counter").read_bytes()
            done += own.swap("counter", digest(now), str(int(now) + 1).encode())

    _together(count)
    assert blobs.fetch("counter").read_bytes() == str(10 * WRITERS).encode()


def test_trainers_of_one_target_lose_and_mix_nothing(another: Another) -> None:
    """Eight trainers commit their own entities again and again: in the end everybody's newest entry is in force."""
    rounds = 3

    def commit(writer: int) -> None:
        generations = Generations(another())
        for number in range(rounds):
            entry = entry_of("cpu", {"writer": str(writer)}, pack=f"{writer:032x}{number:032x}")
            generations.commit("cpu", [entry])

    _together(*[lambda w=writer: commit(w) for writer in range(WRITERS)])
    generation = Generations(another()).current("cpu")
    assert generation is not None
    assert generation.number >= rounds * WRITERS
    assert {e.get("writer"): entry.pack for (e, _), entry in generation.entries.items()} == {
        str(writer): f"{writer:032x}{rounds - 1:032x}" for writer in range(WRITERS)
    }


def _together(*work: Callable[[], None]) -> None:
    """Run ``work`` side by side, a single one by every writer; what goes wrong in one goes wrong here."""
    errors: list[Exception] = []

    def guarded(job: Callable[[], None]) -> None:
        try:
            job()
        except Exception as error:  # noqa: BLE001 - told below
            errors.append(error)

    jobs = work if len(work) > 1 else work * WRITERS
    threads = [threading.Thread(target=guarded, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors
