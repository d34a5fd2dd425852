"""One model for many series: scored by their own scales, before they have a model of their own."""

from .newcomers import LADDER, YOUNGEST, confidence, learned, padded, scale_of
from .prior import Prior, Walks, measure
from .scorer import SHAREABLE, Shared, for_series, identity

__all__ = [
    "LADDER",
    "SHAREABLE",
    "YOUNGEST",
    "Prior",
    "Shared",
    "Walks",
    "confidence",
    "for_series",
    "identity",
    "learned",
    "measure",
    "padded",
    "scale_of",
]
