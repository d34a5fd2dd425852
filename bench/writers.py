"""Scorecard row 18: eight trainers edit one pointer at once, a thousand rounds each; nothing is lost, nothing mixed.

Every round reads a document, notes the writer's own round in it, counts all rounds, and swaps it: as trainers merge
their entities into a generation. Run ``python -m bench.writers [--rounds N] [--s3 URL --bucket NAME]``; keys for a
server come from the environment.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import sys
import tempfile
import time
from pathlib import Path

from anomaly_exporter.blobs import Blobs, DirectoryBlobs, digest
from anomaly_exporter.blobs.s3 import S3Blobs, connect
from anomaly_exporter.config import S3Store

WRITERS = 8
NAME = "generations/bench/pointer"


def open_store(root: str, url: str | None, bucket: str, writer: int) -> Blobs:
    """One writer's own view of the store."""
    if url is None:
        return DirectoryBlobs(Path(root))
    settings = S3Store(bucket=bucket, prefix=Path(root).name, endpoint=url, region="us-east-1")
    return S3Blobs(connect(settings), Path(root) / f"cache{writer}")


def write(root: str, url: str | None, bucket: str, writer: int, rounds: int) -> None:
    """``rounds`` successful swaps of one writer."""
    blobs = open_store(root, url, bucket, writer)
    done = attempt = 0
    while done < rounds:
        before = blobs.fetch(NAME).read_bytes()
        document = json.loads(before)
        if document["rounds"].get(str(writer), 0) != done:
            raise SystemExit(f"writer {writer}: round {done} was lost, found {document}")
        document["rounds"][str(writer)] = done + 1
        document["total"] += 1
        if blobs.swap(NAME, digest(before), json.dumps(document).encode()):
            done, attempt = done + 1, 0
        else:
            attempt += 1
            time.sleep(random.uniform(0, min(0.001 * 2 ** min(attempt, 6), 0.05)))  # noqa: S311


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.writers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--s3", metavar="URL", help="a server instead of a directory")
    parser.add_argument("--bucket", default="anomalies")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        blobs = open_store(root, given.s3, given.bucket, WRITERS)
        blobs.put(NAME, json.dumps({"rounds": {}, "total": 0}).encode())
        began = time.monotonic()
        context = multiprocessing.get_context("spawn")
        writers = [
            context.Process(target=write, args=(root, given.s3, given.bucket, i, given.rounds)) for i in range(WRITERS)
        ]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        spent = time.monotonic() - began
        found = json.loads(blobs.fetch(NAME).read_bytes())
    expected = {"rounds": {str(i): given.rounds for i in range(WRITERS)}, "total": WRITERS * given.rounds}
    if found != expected or any(writer.exitcode for writer in writers):
        sys.stderr.write(f"lost or mixed: {found}\n")
        return 1
    where = given.s3 or "directory"
    sys.stdout.write(f"{where}: {WRITERS} writers x {given.rounds} rounds, nothing lost, {spent:.1f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
