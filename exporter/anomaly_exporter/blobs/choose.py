"""The store that the configuration asks for."""

from __future__ import annotations

from anomaly_exporter.config import Store

from .base import Blobs
from .directory import DirectoryBlobs


def open_blobs(store: Store) -> Blobs:
    """The blobs of ``store``. Raises StoreUnusableError when S3 is asked for and its client is not installed."""
    if store.s3 is None:
        return DirectoryBlobs(store.path)
    from .s3 import S3Blobs, connect  # noqa: PLC0415 - the client is an extra

    return S3Blobs(connect(store.s3), store.path)
