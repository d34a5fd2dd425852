"""Shared models out of a store into a file, and from a file into a store that has none."""

from __future__ import annotations

import logging
from pathlib import Path

from anomaly_models.exceptions import PackError

from .blobs import BlobError, open_blobs
from .config import Config, ConfigError, load
from .generations import GenerationError, Generations, SeedError, SeedMissingError, plant, seed_of
from .history import data_digest

log = logging.getLogger(__name__)

EXIT_CONFIG, EXIT_NOTHING, EXIT_STORE = 2, 4, 5


def run(config_path: Path, out: Path) -> int:
    """Body of ``anomaly-exporter seed``: write the shared models of all targets to ``out``; an exit code."""
    try:
        config = load(config_path).config
        data = seed_of(Generations(open_blobs(config.store)), [target.name for target in config.targets])
        out.write_bytes(data)
    except ConfigError as error:
        log.error("no seed was made", extra={"error": str(error)})
        return EXIT_CONFIG
    except SeedError as error:
        log.error("no seed was made", extra={"error": str(error)})
        return EXIT_NOTHING
    except (BlobError, GenerationError, PackError, OSError) as error:
        log.error("no seed was made: the store or the file cannot be accessed", extra={"error": str(error)})
        return EXIT_STORE
    log.info("seed written", extra={"file": str(out), "bytes": len(data)})
    return 0


def plant_seed(config: Config, generations: Generations) -> None:
    """Put the shared models of ``store.seed`` in force where there are none; what fails is logged and changes nothing.

    A sidecar scores with models from elsewhere within minutes of its first start, and without them later.
    """
    if config.store.seed is None:
        return
    digests = {target.name: data_digest(target) for target in config.targets if target.training.scope != "own"}
    try:
        taken = plant(generations, config.store.seed, digests)
    except SeedMissingError as error:
        log.info("there is no seed", extra={"reason": str(error)})
        return
    except (SeedError, GenerationError, BlobError) as error:
        log.error("the seed is not used, targets wait for their own training", extra={"error": str(error)})
        return
    for target, models in sorted(taken.items()):
        log.info("shared models were taken from the seed", extra={"target": target, "models": models})
