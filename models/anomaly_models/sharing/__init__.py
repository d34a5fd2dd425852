"""One model for many series: scored by their own scales, before they have a model of their own."""

from .newcomers import LADDER, YOUNGEST, Beginning, Rules, begin, confidence, errors_of, learned, padded, scale_of
from .prior import PERSISTENCE, Prior, Walks, measure
from .scorer import SHAREABLE, Shared, for_series, identity

__all__ = [
    "LADDER",
    "PERSISTENCE",
    "SHAREABLE",
    "YOUNGEST",
    "Beginning",
    "Prior",
    "Rules",
    "Shared",
    "Walks",
    "begin",
    "confidence",
    "errors_of",
    "for_series",
    "identity",
    "learned",
    "measure",
    "padded",
    "scale_of",
]
