"""One training process: how it is started, followed and, if need be, ended."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any, Final

from anomaly_exporter.logging_setup import LEVELS, RESERVED_FIELDS

log = logging.getLogger(__name__)

NICE: Final = 10
"""Scoring goes first when both want the same core."""
LONGEST_LINE: Final = 65_536

Event = Mapping[str, Any]


class Child:
    """A process of ``command`` that reports by JSON lines on stdout and logs JSON lines on stderr.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, self._process.pid, NICE)

    @property
    def pid(self) -> int:
        return self._process.pid

    def follow(self, react: Callable[[Event], None], longest: float) -> int:
        """Hand every event to ``react`` until the process ends; its exit code, negative for a signal.

        A process that runs longer than ``longest`` wall seconds is killed: a hanging one must not block all others.
        """
        assert self._process.stdout is not None  # noqa: S101
        assert self._process.stderr is not None  # noqa: S101
        deadline = threading.Timer(longest, self._overdue, [longest])
        deadline.daemon = True
        logs = threading.Thread(target=forward_logs, args=(self._process.stderr,), daemon=True)
        deadline.start()
        logs.start()
        try:
            while line := self._process.stdout.readline(LONGEST_LINE):
                event = parse_event(line)
                if event is not None:
                    react(event)
            code = self._process.wait()
            logs.join(5.0)
            return code
        finally:
            deadline.cancel()
            self.end(0.0)
            for stream in (self._process.stdout, self._process.stderr):
                with contextlib.suppress(OSError, ValueError):
                    stream.close()

    def end(self, grace: float) -> None:
        """Ask the process to end, and kill it and whatever it started after ``grace`` wall seconds. Idempotent."""
        if self._process.poll() is None and grace > 0:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(grace)
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _overdue(self, longest: float) -> None:
        log.error("a training takes too long and is killed", extra={"pid": self.pid, "seconds": longest})
        self.end(0.0)


def parse_event(line: str) -> Event | None:
    """The event of a line of stdout; None for anything else, which is logged."""
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    if isinstance(event, dict) and isinstance(event.get("event"), str):
        return event
    if line.strip():
        log.info("training says", extra={"text": line.strip()[:2000]})
    return None


def forward_logs(stream: IO[str]) -> None:
    """Log every line of a child's log at its own level; lines that are no JSON, such as a traceback, as warnings."""
    with contextlib.suppress(ValueError):
        while line := stream.readline(LONGEST_LINE):
            if line.strip():
                forward(line)


def forward(line: str) -> None:
    """Log one line of a child's log."""
    try:
        fields = json.loads(line)
    except ValueError:
        fields = None
    if not isinstance(fields, dict) or "msg" not in fields:
        log.warning("training says", extra={"text": line.strip()[:2000]})
        return
    level = LEVELS.get(str(fields.get("level")), logging.INFO)
    extra = {
        (f"{key}_" if key in RESERVED_FIELDS else str(key)): value
        for key, value in fields.items()
        if key not in ("ts", "level", "logger", "msg")
    }
    logging.getLogger(str(fields.get("logger") or "training")).log(level, "%s", fields["msg"], extra=extra)
