"""A bucket as the store: few requests, honest copies, and errors that say what to do."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from anomaly_exporter.blobs import DirectoryBlobs, StoreUnusableError, digest, open_blobs, s3
from anomaly_exporter.blobs.s3 import S3Blobs, connect
from anomaly_exporter.config import S3Store, Store
from support.fake_s3 import FakeS3, served_s3


@pytest.fixture
def bucket() -> FakeS3:
    return FakeS3()


@pytest.fixture
def blobs(bucket: FakeS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Blobs]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with served_s3(bucket) as url:
        made = open_blobs(Store(path=tmp_path / "cache", s3=S3Store(bucket=bucket.bucket, endpoint=url, region="x")))
        assert isinstance(made, S3Blobs)
        yield made


def files(blobs: S3Blobs) -> list[Path]:
    return [p for p in blobs._cache.rglob("*") if p.is_file()]


def test_without_a_bucket_the_store_is_a_directory(tmp_path: Path) -> None:
    assert isinstance(open_blobs(Store(path=tmp_path)), DirectoryBlobs)


def test_after_a_listing_copies_are_read_without_asking(blobs: S3Blobs, bucket: FakeS3) -> None:
    for i in range(5):
        blobs.put(f"h/{i}", b"x" * i)
    blobs.list("h/")
    first = [blobs.fetch(f"h/{i}") for i in range(5)]
    blobs.list("h/")
    bucket.requests.clear()
    assert [blobs.fetch(f"h/{i}") for i in range(5)] == first
    assert bucket.requests == []


def test_without_a_listing_only_the_version_is_asked_for(blobs: S3Blobs, bucket: FakeS3) -> None:
    blobs.put("a", b"x")
    blobs.fetch("a")
    bucket.requests.clear()
    blobs.fetch("a")
    assert bucket.requests == [("HEAD", "a")]


def test_a_copy_that_is_not_whole_is_read_again(blobs: S3Blobs) -> None:
    blobs.put("a", b"whole")
    copy = blobs.fetch("a")
    copy.write_bytes(b"ho")
    assert blobs.fetch("a").read_bytes() == b"whole"


def test_a_copy_is_as_old_as_the_blob_and_only_the_newest_version_stays(blobs: S3Blobs, bucket: FakeS3) -> None:
    blobs.swap("a", None, b"1")
    data, etag, at = bucket.objects["a"]
    bucket.objects["a"] = (data, etag, at.replace(year=2020))
    assert time.time() - blobs.fetch("a").stat().st_mtime > 86_400
    blobs.swap("a", digest(b"1"), b"2")
    blobs.fetch("a")
    assert len(files(blobs)) == 1


def test_the_sweep_takes_copies_of_what_is_gone_and_abandoned_ones(blobs: S3Blobs, bucket: FakeS3) -> None:
    for name in ("p/a", "p/b"):
        blobs.put(name, b"x")
        blobs.fetch(name)
    old, new = blobs._cache / "p" / ".tmp-old", blobs._cache / "p" / ".tmp-new"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    del bucket.objects["p/b"]
    assert blobs.sweep() == 2
    assert {p.name.partition("@")[0] for p in files(blobs)} == {"a", ".tmp-new"}


def test_a_server_in_trouble_is_asked_again_and_then_named(blobs: S3Blobs, bucket: FakeS3) -> None:
    blobs.put("a", b"x")
    bucket.trouble = [503, 500]
    assert blobs.fetch("a").read_bytes() == b"x"
    bucket.trouble = [403]
    with pytest.raises(StoreUnusableError, match=r"b: .*check store\.s3 and its keys"):
        blobs.put("b", b"x")


def test_a_bucket_that_is_not_there_is_named(blobs: S3Blobs, bucket: FakeS3) -> None:
    bucket.bucket = "other"
    with pytest.raises(StoreUnusableError, match=r"check store\.s3"):
        blobs.put("a", b"x")


def test_a_cache_that_cannot_be_written_is_named(bucket: FakeS3, blobs: S3Blobs, tmp_path: Path) -> None:
    blobs.put("a", b"x")
    (tmp_path / "file").write_text("")
    other = S3Blobs(blobs._client, tmp_path / "file")
    with pytest.raises(StoreUnusableError, match=r"a: the cache .* cannot be used"):
        other.fetch("a")


def test_without_the_client_the_store_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['obstore'] = None; sys.modules['obstore.store'] = None\n"
        "from pathlib import Path\n"
        "from anomaly_exporter.blobs import StoreUnusableError, open_blobs\n"
        "from anomaly_exporter.config import S3Store, Store\n"
        "try:\n    open_blobs(Store(path=Path('x'), s3=S3Store(bucket='abc')))\n"
        "except StoreUnusableError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "pip install 'anomaly-exporter[s3]'" in done.stdout


def test_listings_are_believed_only_for_a_moment(
    blobs: S3Blobs, bucket: FakeS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs.put("a", b"x")
    blobs.list("")
    blobs.fetch("a")
    monkeypatch.setattr(s3, "FRESH", 0.0)
    bucket.requests.clear()
    blobs.fetch("a")
    assert bucket.requests == [("HEAD", "a")]


def test_settings_of_the_connection_reach_the_client() -> None:
    client = connect(S3Store(bucket="abc", prefix="a/b", region="eu-central-1", path_style=False))
    assert client.prefix == "a/b"
    assert client.config["virtual_hosted_style_request"] in (True, "true")
