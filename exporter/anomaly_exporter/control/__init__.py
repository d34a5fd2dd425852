"""The control API and its pages: start and stop trainings, put generations in force, read scores, give feedback.

A listener of its own with a thread of its own, so that whatever comes in here can stall neither a scrape nor a cycle.
"""

from .desk import Desk
from .service import ControlService, pages_url

__all__ = ["ControlService", "Desk", "pages_url"]
