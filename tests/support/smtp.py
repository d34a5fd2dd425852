"""A mail server that keeps what it gets: ``with mailbox() as box: box.port, box.wait(lambda mail: ..., 10)``."""

from __future__ import annotations

from anomaly_exporter.demo.mailbox import Mail, Mailbox

__all__ = ["Mail", "mailbox"]


def mailbox() -> Mailbox:
    """A mailbox that receives while it is entered."""
    return Mailbox()
