"""Packs in the store: written once, opened as memory maps."""

from __future__ import annotations

import mmap
from pathlib import Path

from anomaly_exporter.blobs import BlobError, BlobExistsError, BlobMissingError, Blobs
from anomaly_models import pack as codec
from anomaly_models.exceptions import PackError, PackRejectedError
from anomaly_models.pack import EncodedPack, Pack

FOLDER = "packs"
SMALL = 1 << 16
"""Bytes up to which a tensor is read instead of mapped: every map holds a file descriptor for as long as it lives."""


class PackMissingError(PackError):
    """A generation names a pack that is not in the store."""

    reason = "missing"


class PackUnreadableError(PackError):
    """The store cannot read the pack: permissions, I/O error."""

    reason = "unreadable"


def put(blobs: Blobs, encoded: EncodedPack) -> None:
    """Store the files of a pack, the manifest last: a pack with a manifest is complete.

    Raises:
        BlobError: the store failed; what was written is an orphan that pruning removes.
    """
    # The name of the folder stands for the contents, so a file that is already there is the same file.
    for name in sorted(encoded.files, key=lambda name: name == codec.MANIFEST):
        try:
            blobs.put(f"{FOLDER}/{encoded.digest}/{name}", encoded.files[name])
        except BlobExistsError:
            continue


def open_(blobs: Blobs, digest: str, verify: bool = True) -> Pack:
    """The pack ``digest`` as read-only views of memory-mapped files.

    Raises:
        PackError: ``reason`` is missing, unreadable, truncated or rejected.
    """

    def path(file: str) -> Path:
        return blobs.fetch(f"{FOLDER}/{digest}/{file}")

    def tensor(file: str, size: int) -> memoryview | bytes:
        return _mapped(path(file), size)

    try:
        manifest = _read(path(codec.MANIFEST), codec.MAX_MANIFEST_BYTES)
        return codec.decode(digest, manifest, tensor, verify)
    except BlobMissingError as error:
        raise PackMissingError(f"pack {digest[:12]}: {error}") from error
    except (BlobError, OSError) as error:
        raise PackUnreadableError(f"pack {digest[:12]}: {error}") from error
    except PackError as error:
        raise type(error)(f"pack {digest[:12]}: {error}") from error


def _read(path: Path, cap: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(cap + 1)
    if len(data) > cap:
        raise PackRejectedError(f"{path.name} has more than {cap} bytes")
    return data


def _mapped(path: Path, size: int) -> memoryview | bytes:
    """The file mapped read-only, a small one read; one of another size than promised is not, its length says so."""
    with path.open("rb") as file:
        length = path.stat().st_size
        if length == 0:
            return b""
        if length > size:
            raise PackRejectedError(f"{path.name} has {length} bytes, more than {size}")
        if length <= SMALL:
            return file.read()
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
