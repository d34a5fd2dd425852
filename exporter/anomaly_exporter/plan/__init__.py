"""What a configuration would cost: entities, history, memory, queries, training time, cardinality."""

from .command import run

__all__ = ["run"]
