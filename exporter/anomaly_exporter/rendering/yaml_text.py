"""YAML that people like to read: keys in the order of writing, long texts as blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml


class _Dumper(yaml.SafeDumper):
    """Indents list items below their key and writes texts of several lines as literal blocks."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def dump(document: Any, comment: str = "") -> str:
    """``document`` as YAML below ``comment``, whose lines become ``#`` lines."""
    return dump_all([document], comment)


def dump_all(documents: Sequence[Any], comment: str = "") -> str:
    """Several documents in one stream; the first has no line of dashes before it."""
    head = "".join(f"# {line}".rstrip() + "\n" for line in comment.splitlines())
    texts = (yaml.dump(d, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000) for d in documents)
    return head + "---\n".join(texts)
