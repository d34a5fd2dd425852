"""From the command line to a running service, and from a signal to its end."""

from __future__ import annotations

import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Final

from anomaly_exporter import __version__
from anomaly_exporter.blobs import BlobError
from anomaly_exporter.config import ConfigError, load
from anomaly_exporter.generations.sharding import parse_shard
from anomaly_exporter.http_server import parse_address
from anomaly_exporter.launch import LauncherConfigError
from anomaly_exporter.sources import SourceError

from .service import Service

log = logging.getLogger(__name__)

EXIT_OK: Final = 0
EXIT_CONFIG: Final = 2
EXIT_SOURCE: Final = 3

POD_INDEX: Final = "POD_INDEX"
"""May hold the ordinal of a StatefulSet's pod; the end of its host name does anyway."""

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def run(
    config_path: Path,
    listen: Sequence[str] = (":8345",),
    telemetry_path: str = "/metrics",
    shard: str = "0/1",
) -> int:
    """Serve the entities of ``shard`` until SIGTERM or SIGINT; SIGHUP reloads the configuration. The exit code."""
    _allow_open_files()
    try:
        loaded = load(config_path)
        addresses = [parse_address(text) for text in listen]
        if not telemetry_path.startswith("/") or telemetry_path == "/" or telemetry_path.startswith("/-/"):
            raise ConfigError(
                f"--web.telemetry-path: expected a path such as /metrics, not / and not below /-/, "
                f"received {telemetry_path!r}"
            )
        part = parse_shard(shard, {POD_INDEX: os.environ.get(POD_INDEX), "host name": socket.gethostname()})
        service = Service(loaded, config_path, addresses, telemetry_path, shard=part)
    except SourceError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_SOURCE
    except (BlobError, ConfigError, LauncherConfigError, ValueError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_CONFIG
    with _caught_signals() as signals:
        service.start()
        where = ", ".join(f"http://{address}{telemetry_path}" for address in service.server.addresses)
        log.info(
            "listening",
            extra={"addresses": where, "version": __version__, "targets": len(loaded.config.targets)}
            | {"shard": str(part)},
        )
        if service.control:
            log.info("control listens", extra={"address": f"http://{service.control.address}/"})
        try:
            for number in signals:
                if number != signal.SIGHUP:
                    log.info("stopping", extra={"signal": signal.Signals(number).name})
                    break
                service.reload()
        finally:
            service.stop()
    return EXIT_OK


@contextmanager
def _caught_signals() -> Iterator[Iterator[int]]:
    """Numbers of the signals that arrive, one by one.

    A handler may interrupt any line of this thread, also one that holds a lock; so it only writes a byte to a pipe.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def note(number: int, _: FrameType | None) -> None:
        with suppress(BlockingIOError):
            os.write(writer, bytes([number]))

    def arriving() -> Iterator[int]:
        while received := os.read(reader, 1):
            yield received[0]

    before = {number: signal.signal(number, note) for number in _SIGNALS}
    try:
        yield arriving()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)


def _allow_open_files() -> None:
    """As many open files as the system grants: every mapped tensor holds one, besides the connections."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
