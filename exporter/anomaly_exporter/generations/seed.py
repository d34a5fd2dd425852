"""Shared models as one file: what a store without models of its own starts with.

JSON, so that it fits a ConfigMap: per target the shared entries, and the packs they name, whose bytes are checked
against their digests as those of every pack. Nothing in it can execute.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from anomaly_models import pack as codec
from anomaly_models.exceptions import AnomalyModelsError
from anomaly_models.pack import EncodedPack

from .documents import GenerationError
from .shared import SharedEntry
from .store import Generations

FORMAT = 1
LARGEST = 64 * 2**20
"""Most bytes of a seed that is read."""


class SeedError(Exception):
    """The file is no seed; the message says what was expected."""


class SeedMissingError(SeedError):
    """There is no such file: nobody has trained elsewhere yet."""


def seed_of(generations: Generations, targets: Iterable[str]) -> bytes:
    """The shared models in force for ``targets``, as a file.

    Raises:
        SeedError: there are none.
        GenerationError, PackError, BlobError: they cannot be read.
    """
    entries: dict[str, list[dict[str, Any]]] = {}
    packs: dict[str, dict[str, str]] = {}
    for target in targets:
        generation = generations.current(target)
        for entry in (generation.shared if generation else {}).values():
            entries.setdefault(target, []).append(entry.to_json())
            encoded = codec.encode(generations.open_pack(entry.pack))
            packs[entry.pack] = {name: base64.b64encode(data).decode() for name, data in encoded.files.items()}
    if not entries:
        raise SeedError("no target has a shared model yet: train with training.scope shared or both, and enough series")
    document = {"format": FORMAT, "targets": entries, "packs": packs}
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def plant(generations: Generations, path: Path, digests: Mapping[str, str]) -> dict[str, int]:
    """Put shared models of the file ``path`` in force where a target has none of the same queries and name.

    ``digests``: data digests of the configured targets by name; models made for others are left out. How many were
    taken, by target.

    Raises:
        SeedError: the file cannot be read or is no seed.
        GenerationError, BlobError: the store cannot be read or written.
    """
    document = _read(path)
    taken: dict[str, int] = {}
    for target, entries in document["targets"].items():
        known = _known(generations, target)
        fresh = [
            entry
            for entry in entries
            if entry.data_digest == digests.get(target)
            and (entry.model not in known or known[entry.model].data_digest != entry.data_digest)
        ]
        for entry in fresh:
            generations.put_pack(document["packs"][entry.pack])
        if fresh:
            generations.commit(target, (), shared=fresh)
            taken[target] = len(fresh)
    return taken


def _known(generations: Generations, target: str) -> Mapping[str, SharedEntry]:
    try:
        generation = generations.current(target)
    except GenerationError:
        return {}
    return generation.shared if generation else {}


def _read(path: Path) -> dict[str, Any]:
    """Entries by target and checked packs by digest. Raises SeedError."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except FileNotFoundError as error:
        raise SeedMissingError(f"{path}: there is no such file; make one by `anomaly-exporter seed`") from error
    except OSError as error:
        raise SeedError(f"{path}: {error.strerror}; store.seed must be a file of `anomaly-exporter seed`") from error
    if len(data) > LARGEST:
        raise SeedError(f"{path}: a seed has at most {LARGEST} bytes")
    try:
        document = json.loads(data)
        if document["format"] != FORMAT:
            raise SeedError(f"{path}: expected format {FORMAT}, received {document['format']!r:.40}")
        packs = {str(digest): _pack(str(digest), files) for digest, files in document["packs"].items()}
        targets = {
            str(target): [_entry(SharedEntry.from_json(entry), packs) for entry in entries]
            for target, entries in document["targets"].items()
        }
    except (AnomalyModelsError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = f"{path}: expected a file of `anomaly-exporter seed`, received another form: {error!r:.200}"
        raise SeedError(what) from error
    return {"packs": packs, "targets": targets}


def _entry(entry: SharedEntry, packs: Mapping[str, EncodedPack]) -> SharedEntry:
    if entry.pack not in packs:
        raise ValueError(f"pack {entry.pack[:12]} is missing")
    training = {**entry.training, "origin": "seed"}
    return SharedEntry(
        entry.model, entry.pack, entry.prior, entry.data_digest, entry.trained_at, entry.trained_data_end, training
    )


def _pack(digest: str, files: Mapping[str, str]) -> EncodedPack:
    """The pack of ``files``, which must be what ``digest`` promises. Raises PackError."""
    try:
        raw = {name: base64.b64decode(text, validate=True) for name, text in files.items()}
    except binascii.Error as error:
        raise ValueError(f"pack {digest[:12]} is not base64") from error
    pack = codec.decode(digest, raw[codec.MANIFEST], lambda name, _: raw[name], True)
    if set(raw) != {codec.MANIFEST, *(f"{name}.npy" for name in pack.tensors)}:
        raise ValueError(f"pack {digest[:12]} has files that its manifest does not name")
    return EncodedPack(digest, raw)
