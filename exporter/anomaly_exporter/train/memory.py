"""Peak memory of a stage of this process."""

from __future__ import annotations

import re
import resource
from contextlib import suppress
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)


def peak_since_last_call() -> int:
    """Highest resident memory in bytes since this was last called.

    Linux resets its high-water mark on request; where it does not (another system, a locked-down container) the peak of
    the whole process so far is returned.
    """
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    with suppress(OSError):
        if found := _PEAK.search(_STATUS.read_text()):
            peak = int(found.group(1)) * 1024
        _CLEAR.write_text("5")
    return peak
