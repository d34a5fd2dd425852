"""The page on which people with a token sign in."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from . import html
from .html import Note

PAGES: Final = ("/", "/train", "/stop", "/feedback")


def show(back: str, notes: list[Note], tokens: bool) -> bytes:
    """The page; ``back`` is where to go afterwards. Without ``tokens`` only the proxy can say who somebody is."""
    if not tokens:
        body = '<section class="card"><p>People come in through the proxy of control.proxy only.</p></section>'
        return html.page("Sign in", "/sign-in", body, None, notes)
    more = {"required": "required", "autocomplete": "current-password", "autofocus": "autofocus", "maxlength": 1024}
    inside = (
        html.hidden("back", back)
        + f"<p>{html.field('token', 'Token', kind='password', hint='One of control.tokens_file.', more=more)}</p>"
        + f'<p class="acts">{html.button("Sign in", style="wide")}</p>'
    )
    body = f'<section class="card"><form method="post" action="sign-in">{inside}</form></section>\n'
    return html.page("Sign in", "/sign-in", body, None, notes)


def local(back: str) -> str:
    """``back`` as a relative address if it is a page of ours, else that of the overview."""
    try:
        parts = urlsplit(back)
    except ValueError:
        return "./"
    plain = back.isascii() and back.isprintable() and not parts.scheme and not parts.netloc
    if not plain or parts.path not in PAGES or len(back) > 4000:
        return "./"
    return f"{parts.path[1:] or './'}{f'?{parts.query}' if parts.query else ''}"
