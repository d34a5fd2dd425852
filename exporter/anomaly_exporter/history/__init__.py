"""What has been read, kept so that it is read once: immutable blocks per day, a folder per meaning of the samples."""

from .identity import data_digest
from .store import History
from .tables import TableError, export_csv, load_csv

__all__ = ["History", "TableError", "data_digest", "export_csv", "load_csv"]
