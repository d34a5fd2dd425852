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
from .shared import SharedEntry
from .store import Generations, Pruned

__all__ = [
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
    "SharedEntry",
]
