"""Everything durable is a blob: bytes under a name, written once, or swapped as a whole.

Errors, named by the reader's next move:

* ``BlobError``
    * ``BlobNameError``         the name is not allowed: a programming error
    * ``BlobMissingError``      nothing is stored under the name
    * ``BlobExistsError``       the name is taken: what is there stays
    * ``StoreFullError``        no space left: free some, nothing was half-written
    * ``StoreUnusableError``    the store cannot be read or written: permissions, read-only, I/O or network error
"""

from __future__ import annotations

import errno
import hashlib
import re
from pathlib import Path
from typing import Protocol

# A part never begins with a dot, so that our temporary and lock files are no blobs and ".." is no part.
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._=+-]{0,199}\Z")
_LONGEST = 900
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Errors of a file system without space."""


class BlobError(Exception):
    """Base of the store's errors; ``reason`` is a word fit for a metric label."""

    reason = "error"


class BlobNameError(BlobError, ValueError):
    """The name of a blob is not allowed."""

    reason = "name"


class BlobMissingError(BlobError):
    """Nothing is stored under the name."""

    reason = "missing"


class BlobExistsError(BlobError):
    """The name is taken; what is stored there is unchanged."""

    reason = "exists"


class StoreFullError(BlobError):
    """No space is left; nothing was half-written."""

    reason = "full"


class StoreUnusableError(BlobError):
    """The store cannot be read or written."""

    reason = "unusable"


class Blobs(Protocol):
    """Named bytes. Names are ``/``-separated parts of letters, digits and ``._=+-``."""

    def fetch(self, name: str) -> Path:
        """A local file with the bytes of ``name``. Raises BlobMissingError."""
        ...

    def put(self, name: str, data: bytes) -> None:
        """Store ``data`` durably. Raises BlobExistsError when the name is taken."""
        ...

    def list(self, prefix: str) -> list[str]:
        """Names that begin with ``prefix``, sorted."""
        ...

    def swap(self, name: str, expected: str | None, new: bytes) -> bool:
        """Replace the bytes of ``name`` if their SHA-256 is ``expected`` (None: nothing there yet); False otherwise."""
        ...

    def remove(self, name: str) -> None:
        """Remove ``name`` if it is there."""
        ...

    def sweep(self) -> int:
        """Remove what interrupted writers left behind; how much that was."""
        ...


def digest(data: bytes) -> str:
    """SHA-256 of ``data`` in hex: what :meth:`Blobs.swap` compares."""
    return hashlib.sha256(data).hexdigest()


def check_name(name: str) -> list[str]:
    """The parts of ``name``. Raises BlobNameError for a name that could leave the store or break a file system."""
    parts = name.split("/")
    if len(name) > _LONGEST or not all(_PART.match(part) for part in parts):
        raise BlobNameError(
            f"a blob name is made of parts of letters, digits and ._=+- joined by '/', at most {_LONGEST} "
            f"characters, received {name[:200]!r}"
        )
    return parts
