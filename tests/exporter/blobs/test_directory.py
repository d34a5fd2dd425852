"""The blob store keeps what it was given, all or nothing, whatever happens to its writers."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from anomaly_exporter.blobs import (
    BlobExistsError,
    BlobMissingError,
    BlobNameError,
    DirectoryBlobs,
    StoreUnusableError,
    digest,
)
from support.waiting import wait_for


@pytest.fixture
def blobs(tmp_path: Path) -> DirectoryBlobs:
    return DirectoryBlobs(tmp_path / "store")


def files(blobs: DirectoryBlobs) -> list[str]:
    return sorted(p.relative_to(blobs.root).as_posix() for p in blobs.root.rglob("*") if p.is_file())


def test_what_was_put_is_fetched(blobs: DirectoryBlobs) -> None:
    blobs.put("packs/ab/pack.json", b"{}")
    assert blobs.fetch("packs/ab/pack.json").read_bytes() == b"{}"


def test_a_missing_blob_is_named(blobs: DirectoryBlobs) -> None:
    with pytest.raises(BlobMissingError, match=r"packs/none: not in the store"):
        blobs.fetch("packs/none")


def test_put_never_overwrites_and_leaves_no_temporary_file(blobs: DirectoryBlobs) -> None:
    blobs.put("a", b"first")
    with pytest.raises(BlobExistsError, match="a: already stored"):
        blobs.put("a", b"second")
    assert blobs.fetch("a").read_bytes() == b"first"
    assert files(blobs) == [".lock", "a"]


def test_list_gives_names_with_the_prefix_sorted_and_nothing_else(blobs: DirectoryBlobs) -> None:
    for name in ("h/b/2", "h/b/1", "h/bc", "other"):
        blobs.put(name, b"")
    (blobs.root / "h" / ".tmp-orphan").write_bytes(b"")
    assert blobs.list("h/b") == ["h/b/1", "h/b/2", "h/bc"]
    assert blobs.list("h/b/") == ["h/b/1", "h/b/2"]
    assert blobs.list("") == ["h/b/1", "h/b/2", "h/bc", "other"]
    assert blobs.list("nowhere/") == []


@pytest.mark.parametrize(
    "name", ["", "/a", "a/", "a//b", "../a", "a/../b", ".hidden", "a/.lock", "a b", "a\n", "ü", "x" * 300]
)
def test_names_that_could_leave_the_store_or_break_a_file_system_are_refused(blobs: DirectoryBlobs, name: str) -> None:
    with pytest.raises(BlobNameError, match="a blob name is made of parts"):
        blobs.put(name, b"")
    with pytest.raises(BlobNameError):
        blobs.fetch(name)


def test_swap_replaces_only_what_the_caller_has_seen(blobs: DirectoryBlobs) -> None:
    assert not blobs.swap("pointer", digest(b"something"), b"1")
    assert blobs.swap("pointer", None, b"1")
    assert not blobs.swap("pointer", None, b"2")
    assert not blobs.swap("pointer", digest(b"0"), b"2")
    assert blobs.fetch("pointer").read_bytes() == b"1"
    assert blobs.swap("pointer", digest(b"1"), b"2")
    assert blobs.fetch("pointer").read_bytes() == b"2"
    assert files(blobs) == [".lock", "pointer"]


def test_remove_is_content_with_a_blob_that_is_gone(blobs: DirectoryBlobs) -> None:
    blobs.put("a", b"")
    blobs.remove("a")
    blobs.remove("a")
    assert blobs.list("") == []


COUNT = """
import sys
from pathlib import Path
from anomaly_exporter.blobs import DirectoryBlobs, digest
blobs = DirectoryBlobs(Path(sys.argv[1]))
done = 0
while done < 25:
    now = blobs.fetch("counter").read_bytes()
    done += blobs.swap("counter", digest(now), str(int(now) + 1).encode())
"""


def test_no_increment_of_concurrent_processes_and_threads_is_lost(blobs: DirectoryBlobs) -> None:
    """Two processes and two threads count to 25 each, by compare-and-swap."""
    blobs.put("counter", b"0")
    others = [subprocess.Popen([sys.executable, "-c", COUNT, str(blobs.root)]) for _ in range(2)]

    def count() -> None:
        done = 0
        while done < 25:
            now = blobs.fetch("counter").read_bytes()
            done += blobs.swap("counter", digest(now), str(int(now) + 1).encode())

    threads = [threading.Thread(target=count) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [process.wait(60) for process in others] == [0, 0]
    assert blobs.fetch("counter").read_bytes() == b"100"


WRITE = """
import sys
from itertools import count
from pathlib import Path
from anomaly_exporter.blobs import DirectoryBlobs, digest
blobs = DirectoryBlobs(Path(sys.argv[1]))
for i in count():
    data = bytes([i % 256]) * 2_000_000
    blobs.put(f"d/{digest(data)}-{sys.argv[2]}-{i}", data)
"""


def test_a_killed_writer_leaves_whole_blobs_and_orphans_that_the_sweep_takes(blobs: DirectoryBlobs) -> None:
    """kill -9 in the middle of writing, again and again: every blob that has a name has all its bytes."""
    blobs.put("first", b"1")
    for attempt in range(12):
        writer = subprocess.Popen([sys.executable, "-c", WRITE, str(blobs.root), str(attempt)])
        before = len(files(blobs))
        wait_for(lambda before=before: len(files(blobs)) > before + 1, 20, "the writer to write")
        writer.kill()
        writer.wait()
    written = blobs.list("d/")
    assert written
    for name in written:
        assert digest(blobs.fetch(name).read_bytes()) == name.removeprefix("d/").partition("-")[0]
    blobs.sweep()
    assert [name for name in files(blobs) if "/.tmp" in name] == []
    assert blobs.list("d/") == written


def test_the_sweep_leaves_alone_what_is_being_written(blobs: DirectoryBlobs) -> None:
    blobs.put("a", b"")
    orphan = blobs.root / ".tmp-orphan"
    orphan.write_bytes(b"half")
    with blobs._temporary(blobs.root / "b", b"whole") as temporary:
        assert blobs.sweep() == 1
        assert temporary.exists()
    assert not orphan.exists()


FULL = """
import resource, sys
from pathlib import Path
from anomaly_exporter.blobs import DirectoryBlobs, StoreFullError, digest
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
blobs = DirectoryBlobs(Path(sys.argv[1]))
for write in (lambda data: blobs.put("new", data), lambda data: blobs.swap("pointer", digest(b"old"), data)):
    try:
        write(b"x" * 1_000_000)
    except StoreFullError as error:
        print(error)
blobs.put("small", b"fits")
"""


def test_a_full_disk_changes_nothing_and_says_so(blobs: DirectoryBlobs) -> None:
    """The kernel refuses to write on (here by a limit on the size of files): no half blob, old bytes stay."""
    blobs.put("pointer", b"old")
    done = subprocess.run([sys.executable, "-c", FULL, str(blobs.root)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "new: File too large; the store is full, nothing was changed",
        "pointer: File too large; the store is full, nothing was changed",
    ]
    assert blobs.fetch("pointer").read_bytes() == b"old"
    assert files(blobs) == [".lock", "pointer", "small"]


def test_a_store_that_is_no_directory_is_unusable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnusableError, match="check the store's directory"):
        DirectoryBlobs(tmp_path / "file").put("a", b"")
