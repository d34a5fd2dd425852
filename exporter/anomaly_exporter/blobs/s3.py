"""Blobs as objects of an S3-compatible bucket, with a local copy of what was read.

Names are keys. Whoever writes does so under a condition that the server checks (``If-None-Match: *`` for a new blob,
``If-Match`` for a swap), so that no lock is needed between hosts; the server must support conditional PUT, as AWS,
MinIO, Ceph and others do. A local copy is named after its ETag and never changes, so that it can be mapped into memory.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from anomaly_exporter.config import S3Store

from .base import (
    FULL,
    BlobExistsError,
    BlobMissingError,
    StoreFullError,
    StoreUnusableError,
    check_name,
    digest,
)

if TYPE_CHECKING:
    from obstore.store import S3Store as Client

_TEMPORARY: Final = ".tmp-"
_MARK: Final = "@"
"""Between the name of a copy and its version; no name of a blob contains it."""
FRESH: Final = 10.0
"""Seconds for which a listing's ETags stand for the objects: one listing, then hundreds of reads without a request."""
TIDY: Final = 3600.0
"""Seconds between two looks for copies of blobs that are gone."""
ABANDONED: Final = 3600.0
"""Age in seconds of a temporary copy whose writer must be gone."""
TIMEOUT: Final = timedelta(seconds=30)
RETRIES: Final = 4
PATIENCE: Final = timedelta(seconds=60)


@dataclass(frozen=True)
class _Version:
    """One object as a listing or an answer described it."""

    e_tag: str
    size: int
    modified: float


def connect(settings: S3Store) -> Client:
    """A client of the bucket; keys come from the environment (``AWS_*``), a web identity or the machine.

    Raises StoreUnusableError when the client is not installed or refuses the settings.
    """
    try:
        from obstore.exceptions import BaseError  # noqa: PLC0415 - an extra
        from obstore.store import S3Store as Client  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise StoreUnusableError("store.s3 needs its client: pip install 'anomaly-exporter[s3]'") from error
    more: dict[str, Any] = {"virtual_hosted_style_request": not settings.path_style}
    for name in ("endpoint", "region"):
        if value := getattr(settings, name):
            more[name] = value
    try:
        return Client(
            settings.bucket,
            prefix=settings.prefix or None,
            client_options={"timeout": TIMEOUT, "allow_http": (settings.endpoint or "").startswith("http://")},
            retry_config={"max_retries": RETRIES, "retry_timeout": PATIENCE},
            **more,
        )
    except BaseError as error:
        raise StoreUnusableError(f"store.s3: {_first_line(error)}") from error


class S3Blobs:
    """Blobs below the prefix of ``client``; copies of them live in the directory ``cache``. Safe between threads."""

    def __init__(self, client: Client, cache: Path) -> None:
        import obstore  # noqa: PLC0415 - an extra

        self._api = obstore
        self._missing = (obstore.exceptions.NotFoundError, FileNotFoundError)
        self._client = client
        self._cache = cache
        self._lock = threading.Lock()
        self._listed: dict[str, tuple[float, _Version]] = {}
        self._swapped: set[str] = set()
        self._tidied = time.monotonic()

    def fetch(self, name: str) -> Path:
        check_name(name)
        known = self._known(name)
        if known and (copy := self._copy(name, known)):
            return copy
        path = self._download(name)
        if time.monotonic() - self._tidied > TIDY:
            self.sweep()
        return path

    def put(self, name: str, data: bytes) -> None:
        check_name(name)
        errors = self._api.exceptions
        with self._explained(name):
            try:
                self._api.put(self._client, name, data, mode="create", use_multipart=False)
            except (errors.AlreadyExistsError, errors.PreconditionError) as error:
                raise BlobExistsError(f"{name}: already stored; blobs are never overwritten") from error

    def list(self, prefix: str) -> list[str]:
        folder = prefix.rpartition("/")[0]
        if folder:
            check_name(folder)
        found: dict[str, _Version] = {}
        with self._explained(prefix):
            for page in self._api.list(self._client, folder or None):
                for item in page:
                    if (name := item["path"]).startswith(prefix):
                        found[name] = _version(item)
        now = time.monotonic()
        with self._lock:
            self._listed = {n: kept for n, kept in self._listed.items() if now - kept[0] < FRESH}
            self._listed.update({name: (now, version) for name, version in found.items()})
        return sorted(found)

    def swap(self, name: str, expected: str | None, new: bytes) -> bool:
        check_name(name)
        with self._lock:
            self._swapped.add(name)
        errors = self._api.exceptions
        with self._explained(name):
            current = self._read(name)
            if (digest(current[0]) if current else None) != expected:
                return False
            mode: Any = {"e_tag": current[1].e_tag} if current else "create"
            try:
                self._api.put(self._client, name, new, mode=mode, use_multipart=False)
            except (errors.AlreadyExistsError, errors.PreconditionError):
                return False
            except self._missing:
                if current is None:
                    raise
                return False
            return True

    def remove(self, name: str) -> None:
        check_name(name)
        with self._explained(name), suppress(*self._missing):
            self._api.delete(self._client, name)
        with self._lock:
            self._listed.pop(name, None)
        for copy in self._copies(name):
            copy.unlink(missing_ok=True)

    def sweep(self) -> int:
        """Remove copies of what is no longer in the store, and abandoned temporary files; how many there were."""
        self._tidied = time.monotonic()
        stored = set(self.list(""))
        removed = 0
        with self._explained("sweep"):
            for path in self._cache.rglob("*"):
                name, mark, _ = path.relative_to(self._cache).as_posix().rpartition(_MARK)
                gone = bool(mark) and name not in stored
                try:
                    old = path.name.startswith(_TEMPORARY) and time.time() - path.stat().st_mtime > ABANDONED
                    if gone or old:
                        path.unlink()
                        removed += 1
                except FileNotFoundError:
                    continue
        return removed

    def _known(self, name: str) -> _Version | None:
        """What a listing said of ``name`` a moment ago; never of a name that is swapped here."""
        with self._lock:
            at, version = self._listed.get(name, (0.0, None))
            fresh = name not in self._swapped and time.monotonic() - at < FRESH
        return version if fresh else None

    def _copy(self, name: str, version: _Version) -> Path | None:
        """The copy of this very version, None when there is none or it is not whole."""
        path = self._path(name, version)
        try:
            return path if path.stat().st_size == version.size else None
        except FileNotFoundError:
            return None

    def _read(self, name: str) -> tuple[bytes, _Version] | None:
        """Bytes and version of ``name``, None when it is not there."""
        try:
            answer = self._api.get(self._client, name)
            return bytes(answer.bytes()), _version(answer.meta)
        except self._missing:
            return None

    def _download(self, name: str) -> Path:
        """The copy of what is stored now; only its version is asked for when that copy is here already."""
        with self._explained(name):
            try:
                version = _version(self._api.head(self._client, name))
            except self._missing as error:
                raise BlobMissingError(f"{name}: not in the store") from error
            if copy := self._copy(name, version):
                return copy
            found = self._read(name)
            if found is None:
                raise BlobMissingError(f"{name}: not in the store")
            return self._keep(name, *found)

    def _keep(self, name: str, data: bytes, version: _Version) -> Path:
        """Write a copy, whole before it has its name; older versions go, also while they are mapped."""
        path = self._path(name, version)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{_TEMPORARY}{secrets.token_hex(8)}")
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            # The age of a copy is that of the blob: unused packs are pruned by it.
            os.utime(temporary, (version.modified, version.modified))
            temporary.rename(path)
        finally:
            temporary.unlink(missing_ok=True)
        for copy in self._copies(name):
            if copy != path:
                copy.unlink(missing_ok=True)
        return path

    def _path(self, name: str, version: _Version) -> Path:
        mark = hashlib.sha256(version.e_tag.encode()).hexdigest()[:16]
        return self._cache / f"{name}{_MARK}{mark}"

    def _copies(self, name: str) -> tuple[Path, ...]:
        path = self._cache / name
        return tuple(path.parent.glob(f"{path.name}{_MARK}*"))

    @contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        """Errors of the client and of the cache's disk as the store's own errors."""
        try:
            yield
        except (self._api.exceptions.BaseError, OSError) as error:
            # The client raises plain OSErrors too, without a number.
            if not isinstance(error, OSError) or error.errno is None:
                raise StoreUnusableError(f"{name}: {_first_line(error)}; check store.s3 and its keys") from error
            what = f"{name}: the cache {self._cache} cannot be used: {error.strerror or error}"
            if error.errno in FULL:
                raise StoreFullError(f"{what}; it is full") from error
            raise StoreUnusableError(f"{what}; check its permissions") from error


def _version(meta: Mapping[str, Any]) -> _Version:
    if not meta["e_tag"]:
        raise StoreUnusableError(f"{meta['path']}: the server gives no ETag; compare-and-swap needs one")
    return _Version(meta["e_tag"], meta["size"], meta["last_modified"].timestamp())


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:300]
