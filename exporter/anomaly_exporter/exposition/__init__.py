"""From a snapshot to the bytes of ``/metrics`` and ``/metrics/detail``, rendered once per cycle."""

from .detail import DetailCache, render_detail
from .labels import Labels
from .page import Page, body
from .series import render_metrics

__all__ = ["DetailCache", "Labels", "Page", "body", "render_detail", "render_metrics"]
