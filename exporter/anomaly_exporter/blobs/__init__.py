"""Everything durable is a blob: bytes under a name, written once, or swapped as a whole."""

from .base import (
    BlobError,
    BlobExistsError,
    BlobMissingError,
    BlobNameError,
    Blobs,
    StoreFullError,
    StoreUnusableError,
    digest,
)
from .choose import open_blobs
from .directory import DirectoryBlobs

__all__ = [
    "BlobError",
    "BlobExistsError",
    "BlobMissingError",
    "BlobNameError",
    "Blobs",
    "DirectoryBlobs",
    "StoreFullError",
    "StoreUnusableError",
    "digest",
    "open_blobs",
]
