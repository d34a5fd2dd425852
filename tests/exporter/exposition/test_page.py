"""The large part of a page is compressed once and joined to the small one without a copy."""

from __future__ import annotations

import gzip
import subprocess
import zlib

from hypothesis import given
from hypothesis import strategies as st

from anomaly_exporter.exposition import Page, body
from anomaly_exporter.exposition.page import EMPTY, Text


@given(st.binary(max_size=3000), st.binary(max_size=300))
def test_plain_and_gzip_are_the_same_text(large: bytes, live: bytes) -> None:
    page = Page.of(large, 0)
    assert b"".join(body(page, live, gzip=False)) == large + live
    packed = b"".join(body(page, live, gzip=True))
    assert gzip.decompress(packed) == large + live
    single = zlib.decompressobj(16 + zlib.MAX_WBITS)
    assert single.decompress(packed) == large + live
    assert single.eof, "one gzip member: clients that read only the first one see everything"
    assert single.unused_data == b""


def test_the_large_part_is_handed_out_as_it_lies_in_memory() -> None:
    page = Page.of(b"metric 1\n" * 1000, 1000)
    assert body(page, b"x 1\n", gzip=False)[0] is page.text
    assert body(page, b"x 1\n", gzip=True)[1] is page.deflated


def test_an_empty_page_leaves_only_the_live_part() -> None:
    assert b"".join(body(EMPTY, b"up 1\n", gzip=False)) == b"up 1\n"
    assert gzip.decompress(b"".join(body(EMPTY, b"up 1\n", gzip=True))) == b"up 1\n"


def test_the_gzip_command_accepts_the_joined_page() -> None:
    packed = b"".join(body(Page.of(b"a 1\n" * 500, 500), b"b 2\n", gzip=True))
    out = subprocess.run(["gzip", "-dc"], input=packed, capture_output=True, check=True)
    assert out.stdout == b"a 1\n" * 500 + b"b 2\n"


def test_a_family_without_samples_leaves_no_trace() -> None:
    text = Text()
    text.family("empty", "gauge", "Nothing.", [("", 0)])
    text.family("full", "gauge", "A line\nand a \\.", [("", 0), ("full 1\n", 1), ('full{a="b"} 2\n', 1)])
    page = text.page()
    assert page.text == b'# HELP full A line\\nand a \\\\.\n# TYPE full gauge\nfull 1\nfull{a="b"} 2\n'
    assert page.samples == 2
