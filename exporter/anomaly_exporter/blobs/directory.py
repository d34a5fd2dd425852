"""Blobs as files of a directory."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from .base import (
    FULL,
    BlobExistsError,
    BlobMissingError,
    StoreFullError,
    StoreUnusableError,
    check_name,
    digest,
)

_TEMPORARY = ".tmp-"
_LOCK = ".lock"


class DirectoryBlobs:
    """Blobs as files below ``root``, safe between threads, processes and, where ``flock`` is, hosts.

    Bytes go to a temporary file, are synced, get their name by a rename, and the directory is synced: a reader sees
    all or nothing, a crash loses at most the newest blob. A writer holds a lock on its temporary file, so that
    :meth:`sweep` can tell an orphan from a file being written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def fetch(self, name: str) -> Path:
        path = self._path(name)
        if not path.is_file():
            raise BlobMissingError(f"{name}: not in the store {self.root}")
        return path

    def put(self, name: str, data: bytes) -> None:
        path = self._path(name)
        with _explained(name), self._temporary(path, data) as temporary, self._lock():
            if path.exists():
                raise BlobExistsError(f"{name}: already stored; blobs are never overwritten")
            _rename(temporary, path)

    def list(self, prefix: str) -> list[str]:
        folder = prefix.rpartition("/")[0]
        start = self._path(folder) if folder else self.root
        with _explained(prefix):
            found = [
                path.relative_to(self.root).as_posix()
                for path in start.rglob("*")
                if not path.name.startswith(".") and path.is_file()
            ]
        return sorted(name for name in found if name.startswith(prefix))

    def swap(self, name: str, expected: str | None, new: bytes) -> bool:
        path = self._path(name)
        with _explained(name), self._temporary(path, new) as temporary, self._lock():
            try:
                current = digest(path.read_bytes())
            except FileNotFoundError:
                current = None
            if current != expected:
                return False
            _rename(temporary, path)
            return True

    def remove(self, name: str) -> None:
        path = self._path(name)
        with _explained(name):
            try:
                path.unlink()
            except FileNotFoundError:
                return
            _sync_directory(path.parent)

    def sweep(self) -> int:
        """Remove temporary files whose writer is gone; how many there were."""
        removed = 0
        with _explained("sweep"):
            for path in self.root.rglob(f"{_TEMPORARY}*"):
                with suppress(FileNotFoundError), path.open("rb") as file:
                    try:
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except BlockingIOError:
                        continue  # its writer lives
                    path.unlink()
                    removed += 1
        return removed

    def _path(self, name: str) -> Path:
        return self.root.joinpath(*check_name(name))

    @contextmanager
    def _temporary(self, path: Path, data: bytes) -> Iterator[Path]:
        """A synced and locked file with ``data`` beside ``path``; removed on the way out unless it was renamed."""
        _make_directory(path.parent)
        temporary = path.with_name(f"{_TEMPORARY}{secrets.token_hex(8)}")
        try:
            with _open_locked(temporary) as file:
                rest = memoryview(data)
                while rest:
                    rest = rest[file.write(rest) :]
                os.fsync(file.fileno())
                yield temporary
        finally:
            temporary.unlink(missing_ok=True)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Mutual exclusion of everybody who gives a file its name in this store."""
        with (self.root / _LOCK).open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _open_locked(path: Path) -> FileIO:
    """A new file, locked; made again if a sweep took it in the instant before the lock."""
    while True:
        file = FileIO(path, "xb")
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()


def _rename(temporary: Path, path: Path) -> None:
    temporary.rename(path)
    _sync_directory(path.parent)


def _make_directory(path: Path) -> None:
    """Create ``path`` and what is missing above it, each durable before the next."""
    if path.is_dir():
        return
    _make_directory(path.parent)
    path.mkdir(exist_ok=True)
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """OSErrors as the store's own errors."""
    try:
        yield
    except OSError as error:
        what = f"{name}: {error.strerror or error}"
        if error.errno in FULL:
            raise StoreFullError(f"{what}; the store is full, nothing was changed") from error
        raise StoreUnusableError(f"{what}; check the store's directory and its permissions") from error
