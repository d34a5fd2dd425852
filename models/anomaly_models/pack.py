"""Codec of packs: at most 64 models of one specification as flat float32 files and one JSON manifest.

A pack is the files ``pack.json`` (kind, spec, tensor table, a JSON row per model) and one ``<tensor>.npy`` per tensor
stack. Its name is the SHA-256 of ``pack.json``; the table holds the SHA-256 of every tensor, so the name stands for all
bytes. Reading trusts nothing: sizes and shapes are capped before anything is allocated, the ``.npy`` header must equal
byte for byte the one we write for the shape in the table, and the values are views of the given buffers, never parsed.
NumPy's own readers open the tensor files; we do not use them, because they would also read pickles.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .exceptions import PackRejectedError, PackTruncatedError
from .frame import F32

FORMAT = 1
MAX_MODELS = 64
MAX_TENSORS = 256
MAX_DIMENSIONS = 6
MAX_TENSOR_BYTES = 256 * 2**20
MAX_PACK_BYTES = 512 * 2**20
MAX_MANIFEST_BYTES = 16 * 2**20
MANIFEST = "pack.json"

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_KEYS = {"format", "kind", "spec", "tensors", "rows"}
_TENSOR_KEYS = {"name", "shape", "sha256", "bytes"}


@dataclass(frozen=True)
class Pack:
    """Models of one specification: ``tensors`` have a leading axis of ``len(rows)`` models, ``rows`` are JSON."""

    kind: str
    spec: dict[str, Any]
    tensors: dict[str, F32]
    rows: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class EncodedPack:
    """A pack as files by name; ``digest`` is its content address."""

    digest: str
    files: dict[str, bytes]

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(len(data) for data in self.files.values())


@dataclass(frozen=True)
class TensorEntry:
    """A line of the tensor table: file ``<name>.npy`` of ``bytes`` bytes that holds float32 of ``shape``."""

    name: str
    shape: tuple[int, ...]
    sha256: str
    bytes: int

    @property
    def file(self) -> str:
        return f"{self.name}.npy"


def encode(pack: Pack) -> EncodedPack:
    """The files of ``pack``. The same pack always gives the same bytes.

    Raises:
        PackRejectedError: the pack breaks a cap, or holds a value that is not finite or not JSON.
    """
    files: dict[str, bytes] = {}
    table = []
    for name, tensor in sorted(pack.tensors.items()):
        _require(tensor.dtype == np.float32, f"tensor {name!r} must be float32, received {tensor.dtype}")
        _require(_finite(tensor), f"tensor {name!r} holds NaN or infinity, which no model may")
        data = npy_header(tensor.shape) + np.ascontiguousarray(tensor, "<f4").tobytes()
        files[f"{name}.npy"] = data
        table.append(
            {
                "name": name,
                "shape": list(tensor.shape),
                "sha256": hashlib.sha256(data).hexdigest(),
                "bytes": len(data),
            }
        )
    document = {"format": FORMAT, "kind": pack.kind, "spec": pack.spec, "tensors": table, "rows": list(pack.rows)}
    try:
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise PackRejectedError(f"spec and rows of a pack must be JSON without NaN: {error}") from error
    manifest = text.encode() + b"\n"
    digest = hashlib.sha256(manifest).hexdigest()
    read_manifest(digest, manifest)  # what is refused at reading is not written
    return EncodedPack(digest, {**files, MANIFEST: manifest})


def decode(digest: str, manifest: bytes, tensor: Callable[[str, int], memoryview | bytes], verify: bool = True) -> Pack:
    """The pack called ``digest``; its tensors are read-only views of the buffers that ``tensor(file, bytes)`` returns.

    ``bytes`` is the size that the table promises, already capped: a caller may refuse to read or map more. With
    ``verify`` every byte is hashed and every value checked to be finite; it costs one pass over the tensors, so verify
    once per process and pack.

    Raises:
        PackTruncatedError: bytes are missing.
        PackRejectedError: anything else than exactly what :func:`encode` writes.
    """
    document, entries = read_manifest(digest, manifest)
    tensors = {e.name: _view(e, tensor(e.file, e.bytes), verify) for e in entries}
    return Pack(document["kind"], document["spec"], tensors, tuple(document["rows"]))


def read_manifest(digest: str, manifest: bytes) -> tuple[dict[str, Any], tuple[TensorEntry, ...]]:
    """The checked contents of ``pack.json``: the document and its tensor table.

    Raises:
        PackTruncatedError, PackRejectedError: as :func:`decode`.
    """
    _require(len(manifest) <= MAX_MANIFEST_BYTES, f"{MANIFEST} has more than {MAX_MANIFEST_BYTES} bytes")
    if hashlib.sha256(manifest).hexdigest() != digest:
        if not manifest.endswith(b"}\n"):
            raise PackTruncatedError(f"{MANIFEST} of pack {digest[:12]} ends after {len(manifest)} bytes")
        raise PackRejectedError(f"{MANIFEST} does not have the SHA-256 {digest[:12]} that names it")
    try:
        document = json.loads(manifest, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise PackRejectedError(f"{MANIFEST} is not JSON: {error}") from error
    _require(isinstance(document, dict) and set(document) == _KEYS, f"{MANIFEST} must hold exactly {sorted(_KEYS)}")
    _require(document["format"] == FORMAT, f"format must be {FORMAT}, received {document['format']!r}; train anew")
    kind, spec, rows = document["kind"], document["spec"], document["rows"]
    _require(isinstance(kind, str) and bool(_NAME.match(kind)), f"kind must be a name, received {kind!r}")
    _require(isinstance(spec, dict), "spec must be an object")
    _require(isinstance(rows, list) and all(isinstance(r, dict) for r in rows), "rows must be a list of objects")
    _require(1 <= len(rows) <= MAX_MODELS, f"a pack holds 1 to {MAX_MODELS} models, received {len(rows)}")
    return document, _table(document["tensors"], len(rows))


def npy_header(shape: tuple[int, ...]) -> bytes:
    """Header of a ``.npy`` file: version 1.0, little-endian float32, C order. One spelling per shape, padded to 64."""
    axes = "".join(f"{n}, " for n in shape) if len(shape) != 1 else f"{shape[0]},"
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({axes.removesuffix(', ')}), }}".encode()
    padding = -(10 + len(text) + 1) % 64
    return b"\x93NUMPY\x01\x00" + (len(text) + padding + 1).to_bytes(2, "little") + text + b" " * padding + b"\n"


def _table(table: Any, models: int) -> tuple[TensorEntry, ...]:
    """The tensor table with every cap checked, so that nothing after it can ask for too much."""
    _require(isinstance(table, list) and 1 <= len(table) <= MAX_TENSORS, f"a pack holds 1 to {MAX_TENSORS} tensors")
    entries = tuple(_entry(line, models) for line in table)
    names = [e.name for e in entries]
    _require(names == sorted(set(names)), "tensors must be sorted and have unique names")
    # Names that differ only in case would be one file on some file systems.
    _require(len({n.lower() for n in names}) == len(names), "tensor names must differ by more than case")
    total = sum(e.bytes for e in entries)
    _require(total <= MAX_PACK_BYTES, f"a pack has at most {MAX_PACK_BYTES} bytes, received {total}")
    return entries


def _entry(line: Any, models: int) -> TensorEntry:
    _require(isinstance(line, dict) and set(line) == _TENSOR_KEYS, f"a tensor needs exactly {sorted(_TENSOR_KEYS)}")
    name, shape, sha256, size = line["name"], line["shape"], line["sha256"], line["bytes"]
    _require(isinstance(name, str) and bool(_NAME.match(name)), f"tensor name {name!r} is not allowed")
    _require(isinstance(sha256, str) and bool(_SHA256.match(sha256)), f"tensor {name!r} needs a SHA-256")
    _require(
        isinstance(shape, list)
        and 1 <= len(shape) <= MAX_DIMENSIONS
        and all(type(n) is int and 1 <= n <= MAX_TENSOR_BYTES for n in shape),
        f"tensor {name!r} needs 1 to {MAX_DIMENSIONS} positive axes, received {str(shape)[:80]}",
    )
    _require(shape[0] == models, f"tensor {name!r} must have a leading axis of {models} models, received {shape}")
    values = math.prod(shape) * 4
    _require(values <= MAX_TENSOR_BYTES, f"tensor {name!r} has at most {MAX_TENSOR_BYTES} bytes, received {shape}")
    expected = len(npy_header(tuple(shape))) + values
    _require(type(size) is int and size == expected, f"tensor {name!r} of {shape} has {expected} bytes, not {size!r}")
    return TensorEntry(name, tuple(shape), sha256, size)


def _view(entry: TensorEntry, data: memoryview | bytes, verify: bool) -> F32:
    """A read-only array over ``data``, which must be exactly the file that ``entry`` promises."""
    if len(data) < entry.bytes:
        raise PackTruncatedError(f"{entry.file} has {len(data)} bytes of {entry.bytes}")
    _require(len(data) == entry.bytes, f"{entry.file} has {len(data)} bytes, more than {entry.bytes}")
    header = npy_header(entry.shape)
    _require(bytes(data[: len(header)]) == header, f"{entry.file} is not plain float32 of shape {entry.shape}")
    if verify:
        _require(hashlib.sha256(data).hexdigest() == entry.sha256, f"{entry.file} differs from its SHA-256")
    values = np.frombuffer(data, "<f4", offset=len(header)).reshape(entry.shape)
    values.flags.writeable = False
    if verify:
        _require(_finite(values), f"{entry.file} holds NaN or infinity")
    return values


def _finite(values: F32) -> bool:
    """Whether no value is NaN or infinite, without a temporary array: NaN passes through minimum and maximum."""
    return values.size == 0 or bool(np.isfinite(values.min()) and np.isfinite(values.max()))


def _refuse_constant(word: str) -> Any:
    raise ValueError(f"{word} is not a number a pack may hold")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise PackRejectedError(message)
