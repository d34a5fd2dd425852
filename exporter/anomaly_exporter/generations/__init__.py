"""Which model is in force for which entity: immutable generation documents, a pointer, and the packs they name."""

from .documents import (
    Entry,
    Generation,
    GenerationConflictError,
    GenerationError,
    GenerationMissingError,
    GenerationRejectedError,
    GenerationTruncatedError,
)
from .packs import PackMissingError, PackUnreadableError
from .seed import SeedError, SeedMissingError, plant, seed_of
from .shared import SERVED_BY_ALL, SharedEntry
from .store import Generations, Pruned

__all__ = [
    "SERVED_BY_ALL",
    "Entry",
    "Generation",
    "GenerationConflictError",
    "GenerationError",
    "GenerationMissingError",
    "GenerationRejectedError",
    "GenerationTruncatedError",
    "Generations",
    "PackMissingError",
    "PackUnreadableError",
    "Pruned",
    "SeedError",
    "SeedMissingError",
    "SharedEntry",
    "plant",
    "seed_of",
]
