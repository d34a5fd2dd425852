"""When a target is trained: in slots of its own, so that the targets of a fleet do not all ask at once."""

from __future__ import annotations

import hashlib
import math
from typing import Final

FIRST_RETRY: Final = 300
"""Data seconds after a first failure until training is tried again; doubled with every further one."""


def offset(target: str, every: int) -> int:
    """Where in its period of ``every`` seconds a target's slot lies: spread over all of it, the same for ever."""
    return int.from_bytes(hashlib.sha256(target.encode()).digest()[:8], "big") % every


def next_slot(target: str, every: int, after: float) -> float:
    """Data time of the first slot later than ``after``."""
    phase = offset(target, every)
    return ((after - phase) // every + 1) * every + phase


def retry_at(failures: int, failed_at: float, every: int) -> float | None:
    """Data time of the next try after ``failures`` > 0 in a row, the newest at ``failed_at``; None without any."""
    if failures < 1:
        return None
    return failed_at + min(FIRST_RETRY << min(failures - 1, 20), every)


def due_at(target: str, every: int, began: float | None, at_once: bool, retry: float | None) -> float:
    """Data time at which ``target`` is to be trained next; in the past when it should have been.

    ``began``: when the newest training began or, after a restart, when the models in force were trained; None when
    there never was one. ``retry``: when to try again after a failure.
    """
    if retry is not None:
        return retry
    if at_once or began is None:
        return -math.inf
    return next_slot(target, every, began)
