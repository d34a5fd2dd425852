"""Requests that end when they should, whatever the server does."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Any

import urllib3
from requests.adapters import HTTPAdapter


class Deadline:
    """Ends a request at a moment, whatever it is doing: the socket is shut down under it, a blocked read returns.

    A timeout per read would not do: a server that drips a byte now and then never runs into one.
    """

    def __init__(self, seconds: float) -> None:
        self.expired = False
        self.seconds = seconds
        self._over = False
        self._connection: Any = None
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self._fire)
        self._timer.daemon = True

    def __enter__(self) -> Deadline:
        self._timer.start()
        _current.deadline = self
        return self

    def __exit__(self, *_: object) -> None:
        _current.deadline = None
        self._timer.cancel()
        with self._lock:
            self._over = True

    def watch(self, connection: Any) -> None:
        """``connection`` carries the request from now on."""
        with self._lock:
            self._connection = connection
            if self.expired:
                raise TimeoutError("deadline passed while connecting")

    def _fire(self) -> None:
        with self._lock:
            if self._over:
                return  # the connection may already carry another request
            self.expired = True
            if (sock := getattr(self._connection, "sock", None)) is not None:
                with suppress(OSError):
                    # The plain socket's method: under TLS a blocked read needs its TLS object to the end.
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)


class _Current(threading.local):
    deadline: Deadline | None = None


_current = _Current()


class _Connection(urllib3.connection.HTTPConnection):
    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is None:
            self.connect()
        if _current.deadline:
            _current.deadline.watch(self)
        super().request(*args, **kwargs)


class _TlsConnection(urllib3.connection.HTTPSConnection):
    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is None:
            self.connect()
        if _current.deadline:
            _current.deadline.watch(self)
        super().request(*args, **kwargs)


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class Adapter(HTTPAdapter):
    """A pool for the few requests in flight, no retries of its own, connections that a deadline can reach."""

    def __init__(self, size: int) -> None:
        super().__init__(pool_connections=1, pool_maxsize=size, max_retries=0, pool_block=False)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
