"""Fixtures that tests of every folder ask for by name."""

from __future__ import annotations

import pytest

from support.prometheus import need_programs


@pytest.fixture(scope="session")
def servers() -> None:
    """Prometheus and Alertmanager are installed; where one is missing the test fails and says what to install."""
    need_programs()
