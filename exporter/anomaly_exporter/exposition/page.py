"""A rendered page as bytes, plain and deflated, and how a small live part is joined to it without touching it again."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

LEVEL: Final = 1
"""Level 9 takes ten times as long for three quarters of the size."""
_GZIP_HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff"  # RFC 1952: deflate, no flags, no time, fastest
_RAW: Final = -zlib.MAX_WBITS


@dataclass(frozen=True)
class Page:
    """``deflated`` is ``text`` as a raw deflate stream that ends on a byte boundary and may be continued."""

    text: bytes
    deflated: bytes
    crc: int
    samples: int

    @classmethod
    def of(cls, text: bytes, samples: int) -> Page:
        if not text:
            return cls(b"", b"", 0, 0)
        compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, _RAW)
        deflated = compressor.compress(text) + compressor.flush(zlib.Z_SYNC_FLUSH)
        return cls(text, deflated, zlib.crc32(text), samples)


EMPTY: Final = Page(b"", b"", 0, 0)


def body(page: Page, live: bytes, gzip: bool) -> tuple[bytes, ...]:
    """The page followed by the ``live`` part as buffers to send: plain, or as one gzip member.

    Deflate blocks know nothing of each other when the second part refers only to itself, and CRC-32 continues over
    the second part, so the large part is compressed once per cycle and never copied.
    """
    if not gzip:
        return (page.text, live)
    compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, _RAW)
    end = compressor.compress(live) + compressor.flush(zlib.Z_FINISH)
    trailer = struct.pack("<II", zlib.crc32(live, page.crc), (len(page.text) + len(live)) & 0xFFFFFFFF)
    return (_GZIP_HEADER, page.deflated, end + trailer)


class Text:
    """Collects families of the Prometheus text format 0.0.4; a family without samples leaves no trace."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._samples = 0

    def family(self, name: str, kind: str, help_text: str, chunks: Iterable[tuple[str, int]]) -> None:
        """Add a family; ``chunks`` are ready lines, each with a newline at its end, and how many there are."""
        filled = [chunk for chunk in chunks if chunk[1]]
        if filled:
            self._parts.append(f"# HELP {name} {escape_help(help_text)}\n# TYPE {name} {kind}\n")
            self._parts.extend(lines for lines, _ in filled)
            self._samples += sum(count for _, count in filled)

    def page(self) -> Page:
        # A lone surrogate cannot be encoded; a question mark harms one label value instead of the whole page.
        return Page.of("".join(self._parts).encode("utf-8", "replace"), self._samples)


def escape_help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")
