"""Child processes that end with us: an own process group each, and the kernel's parent-death signal."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

import requests

# Runs in the child before the program: asks the kernel to end it when the thread that started it is gone
# (PR_SET_PDEATHSIG), and gives up at once if that has happened already. A fresh interpreter, because preexec_fn
# is unsafe with threads.
_GUARD = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    sys.exit(0)
os.execvp(sys.argv[2], sys.argv[2:])
"""


class StackError(Exception):
    """A part of the demo did not come up or ended on its own; the message names it and the end of its log."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on right now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


class Child:
    """A program that runs until :meth:`stop`, logging to a file.

    Raises:
        StackError: (``start``) the program cannot be started.
    """

    def __init__(self, name: str, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.command = list(command)
        self.log = log
        self.env = dict(env) if env is not None else None
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        guard = [sys.executable, "-I", "-S", "-c", _GUARD, str(os.getpid())] if sys.platform == "linux" else []
        self.log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self.log.open("ab") as out:
                self.process = subprocess.Popen(
                    [*guard, *self.command],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env=self.env,
                )
        except OSError as error:
            raise StackError(f"{self.name}: {self.command[0]} cannot be started: {error.strerror}") from error
        return self

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def check(self) -> None:
        """Raises StackError when the program has ended."""
        if not self.running:
            code = self.process.returncode if self.process else None
            raise StackError(f"{self.name} ended with exit code {code}; the end of {self.log}:\n{self.log_tail()}")

    def log_tail(self, lines: int = 15) -> str:
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""

    def signal(self, number: int) -> None:
        """Send a signal to the program alone."""
        if self.process and self.running:
            self.process.send_signal(number)

    def stop(self, patience: float = 10.0) -> None:
        """End the program and its children: SIGTERM, then SIGKILL after ``patience`` seconds; again does nothing."""
        process = self.process
        if process is None:
            return
        if process.poll() is None:
            self._signal_group(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(patience)
        # What the program left behind in its group goes too.
        self._signal_group(signal.SIGKILL)
        process.wait()

    def _signal_group(self, number: int) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, number)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def wait_ready(child: Child, url: str, timeout: float = 30.0) -> None:
    """Return when ``url`` answers 200. Raises StackError when it does not in time, or the child ends before."""
    wait_until(lambda: http_ok(url), timeout, f"{child.name} to answer at {url}", child)


def wait_until(condition: Callable[[], bool], timeout: float, what: str, *children: Child, every: float = 0.1) -> None:
    """Return when ``condition()`` is true. Raises StackError after ``timeout`` wall seconds or when a child ends."""
    deadline = time.monotonic() + timeout
    while not condition():
        for child in children:
            child.check()
        if time.monotonic() > deadline:
            logs = "\n".join(f"the end of {c.log}:\n{c.log_tail()}" for c in children)
            raise StackError(f"waited {timeout:g} s in vain for {what}. {logs}".rstrip())
        time.sleep(every)


def http_ok(url: str) -> bool:
    """Whether ``url`` answers 200 now."""
    try:
        return requests.get(url, timeout=2).status_code == 200
    except requests.RequestException:
        return False
