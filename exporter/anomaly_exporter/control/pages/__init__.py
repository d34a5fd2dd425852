"""Pages for people: train, stop, feedback. Plain HTML and forms, no script; a GET never changes anything."""

from .site import Pages

__all__ = ["Pages"]
