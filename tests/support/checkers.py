"""promtool and amtool, the judges of rules and routes; absent ones fail the test and say what to install."""

from __future__ import annotations

import subprocess


def promtool(*arguments: str) -> str:
    """What ``promtool`` says; AssertionError with its words when it finds a fault."""
    return _run("promtool", "prometheus", arguments)


def amtool(*arguments: str) -> str:
    """What ``amtool`` says; AssertionError with its words when it finds a fault."""
    return _run("amtool", "prometheus-alertmanager", arguments)


def _run(program: str, package: str, arguments: tuple[str, ...]) -> str:
    try:
        done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=120)
    except FileNotFoundError as error:
        raise AssertionError(f"{program} is missing: apt-get install {package} (or `make system`)") from error
    assert done.returncode == 0, f"{program} {' '.join(arguments)}:\n{done.stdout}{done.stderr}"
    return done.stdout
