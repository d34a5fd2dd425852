"""The page of one application as a source: scraped, evaluated and kept by ourselves."""

from .source import ScrapeSource

__all__ = ["ScrapeSource"]
