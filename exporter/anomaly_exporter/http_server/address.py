"""Listen addresses: ``:8345``, ``127.0.0.1:8345``, ``[::1]:8345``, ``localhost:0``."""

from __future__ import annotations

import errno
import socket
from typing import Final, NamedTuple

_BACKLOG: Final = 1024


class Address(NamedTuple):
    """Host (empty: all interfaces) and port (0: any free one)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """The address written as ``host:port``.

    Raises:
        ValueError: says what was expected.
    """
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"expected an IPv6 address in brackets, such as [::1]:8345, received {text!r}")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError(f"expected host:port, such as :8345 or 127.0.0.1:8345, received {text!r}")
    return Address(host, int(port))


def listen(address: Address) -> socket.socket:
    """A non-blocking listening socket; an empty host listens on IPv4 and IPv6 where the machine has both.

    Raises:
        OSError: the address cannot be resolved or bound; the message names it.
    """
    try:
        listener = _bind(address)
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {address}: {error.strerror or error}") from error
    listener.setblocking(False)
    return listener


def _bind(address: Address) -> socket.socket:
    if not address.host and socket.has_dualstack_ipv6():
        try:
            return socket.create_server(
                ("::", address.port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_BACKLOG
            )
        except OSError as error:
            # IPv6 can be compiled in and switched off; a port that is taken is taken for both.
            if error.errno == errno.EADDRINUSE:
                raise
    found = socket.getaddrinfo(
        address.host or "0.0.0.0",  # noqa: S104 - all interfaces is what an empty host asks for
        address.port,
        type=socket.SOCK_STREAM,
        flags=socket.AI_PASSIVE,
    )
    family, *_, where = found[0]
    return socket.create_server(where[:2], family=family, backlog=_BACKLOG)
