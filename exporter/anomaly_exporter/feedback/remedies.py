"""The order of next steps: what people said has fixed something comes first."""

from __future__ import annotations

from anomaly_exporter.blobs import open_blobs
from anomaly_exporter.config import Config

from .figures import ranked
from .store import Feedback


def with_ranked_remedies(config: Config) -> Config:
    """``config`` with all its remedies in the order of their success. Raises BlobError: the store cannot be read."""
    statements = Feedback(open_blobs(config.store)).current().statements
    remedies = ranked(config.all_remedies, statements)
    return config.model_copy(update={"remedies": remedies, "shipped_remedies": False})
