"""End promptly on SIGTERM or SIGINT, also in the middle of a long native call."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_STOPPED = 130
GRACE = 2.0
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(BaseException):
    """A signal asked this process to end."""


@contextmanager
def stop_on_signals(grace: float = GRACE) -> Iterator[None]:
    """Raise :class:`Stopped` in the main thread on the first signal; end the process ``grace`` seconds later.

    A Python handler waits for the running native call, and a compiler of TensorFlow can take half a minute. The
    interpreter writes to a pipe at once, though; a thread behind it ends the process if the handler did not. That is
    safe: everything durable is written whole or not at all. In other threads than the main one nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    finished = threading.Event()

    def watch() -> None:
        while received := os.read(wake, 1):
            if received[0] in SIGNALS:
                if not finished.wait(grace):
                    os._exit(EXIT_STOPPED)
                return

    def handle(number: int, frame: FrameType | None) -> None:
        raise Stopped

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    fd_before = signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    watcher = threading.Thread(target=watch, name="stop-watcher", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        finished.set()
        signal.set_wakeup_fd(fd_before)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(woken)
        watcher.join()
        os.close(wake)
