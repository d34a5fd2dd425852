"""The canary: a series with an anomaly on a schedule, and the receipt of its alert. See docs/canary.md."""

from .series import injected_at, value_at
from .station import Station
from .webhook import Notification, WebhookError, read

__all__ = ["Notification", "Station", "WebhookError", "injected_at", "read", "value_at"]
