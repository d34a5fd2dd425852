"""The labelled series that lie beside a checkout in CI; tests that need them skip where they are absent."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHARED_DATA = ROOT.parent / "shared" / "data"


def shared_data() -> Path:
    """Folder with ``series/`` and ``evaluate.py``; skips the test with the reason where it is absent."""
    if not (SHARED_DATA / "series" / "segments.csv").exists():
        pytest.skip("labelled series are not beside this checkout (../shared/data)")
    return SHARED_DATA
