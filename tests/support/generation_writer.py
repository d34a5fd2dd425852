"""A process that commits generations as fast as it can until it is killed."""

from __future__ import annotations

import os
import sys
from itertools import count
from pathlib import Path

import numpy as np

from anomaly_exporter.blobs import DirectoryBlobs
from anomaly_exporter.generations import Entry, Generations
from anomaly_models.frame import EntityKey
from anomaly_models.pack import EncodedPack, Pack, encode
from anomaly_models.thresholds import Recent, ThresholdInputs

TARGET = "cpu"


def an_entity(name: str, target: str = TARGET) -> EntityKey:
    return EntityKey.of(target, {"container": name})


def a_pack(seed: int = 0, models: int = 2) -> EncodedPack:
    values = np.random.default_rng(seed).normal(size=(models, 64)).astype(np.float32)
    return encode(Pack("zscore", {"seed": seed}, {"center": values}, tuple({"row": i} for i in range(models))))


def an_entry(name: str, pack: str = "0" * 64, row: int = 0, at: int = 1_000_000, target: str = TARGET) -> Entry:
    return Entry(
        entity=an_entity(name, target),
        model="fc",
        pack=pack,
        row=row,
        threshold=ThresholdInputs(Recent(at, 1.5, 0.25), (Recent(max(at - 7200, 0), 1.25, 0.5),)),
        data_digest="d",
        trained_at=1_700_000_000.5,
        trained_data_end=at,
        evaluated_at=1_700_000_001.0,
        figures={"test": {"mae": 0.5}},
        training={"epochs": 3},
    )


def write_until_killed(root: Path, seed: int) -> None:
    """Put a pack and commit it, again and again, as a trainer does."""
    generations = Generations(DirectoryBlobs(root))
    for i in count():
        pack = a_pack(seed * 1_000_000 + i)
        generations.put_pack(pack)
        generations.commit(TARGET, [an_entry(f"c{k}", pack.digest, k, at=seed * 1_000_000 + i) for k in range(2)])


def fork_writer(root: Path, seed: int) -> int:
    """Process id of a writer. Only for single-threaded parents: the child never returns."""
    child = os.fork()
    if child == 0:
        try:
            write_until_killed(root, seed)
        finally:
            os._exit(1)
    return child


def main() -> None:
    """``generation_writer ROOT ROUNDS``: start and kill writers; after every kill the store must be good.

    A nursery of its own: forking is cheap here, and safe, since this process has one thread.
    """
    import random
    import signal
    import time

    root, rounds = Path(sys.argv[1]), int(sys.argv[2])
    moments = random.Random(7)  # noqa: S311
    generations = Generations(DirectoryBlobs(root))
    newest = 0
    for round_ in range(rounds):
        child = fork_writer(root, round_)
        end = time.monotonic() + moments.uniform(0.005, 0.2)
        while time.monotonic() < end:
            os.sched_yield()
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WTERMSIG(status) != signal.SIGKILL:
            raise SystemExit(f"round {round_}: the writer ended by itself, status {status}")
        current = generations.current(TARGET)
        if current is None:
            continue
        if current.number < newest:
            raise SystemExit(f"round {round_}: generation {current.number} after {newest}")
        newest = current.number
        for pack in current.packs:
            generations.open_pack(pack, verify=True)
    sys.stdout.write(f"{newest}\n")


if __name__ == "__main__":
    main()
