"""``anomaly-exporter train``: read what is new, fit the models of one target, put a new generation in force.

Always a process of its own, so that scoring never stalls and TensorFlow's memory goes back to the system.
"""

from .command import Request, request, run, train_target

__all__ = ["Request", "request", "run", "train_target"]
