"""Pieces of HTML. Whatever comes from outside goes through :func:`text` or :func:`attribute`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import urlencode

from anomaly_exporter.control.identity import Identity

from .style import STYLE

LINKS = (("./", "Overview"), ("train", "Train"), ("stop", "Stop"), ("feedback", "Feedback"))


@dataclass(frozen=True)
class Note:
    """Something to say above a page: ``kind`` is good, bad, warn or nothing."""

    kind: str
    words: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Viewer:
    """For whom a page is made. ``form``: the token that their forms carry."""

    identity: Identity
    form: str


def text(value: object) -> str:
    """Text from anywhere, isolated so that one written from right to left cannot turn what stands beside it."""
    return f"<bdi>{escape(str(value))}</bdi>"


def attribute(value: object) -> str:
    """A value for a quoted attribute."""
    return escape(str(value), quote=True)


def link(path: str, words: str, fields: Mapping[str, str | Sequence[str]] | None = None, style: str = "") -> str:
    """A link to a page of ours with ``fields`` behind it; ``words`` are ours."""
    query = f"?{urlencode(fields, doseq=True)}" if fields else ""
    return f'<a href="{attribute(path + query)}"{_class(style)}>{words}</a>'


def page(title: str, here: str, body: str, viewer: Viewer | None, notes: Iterable[Note] = ()) -> bytes:
    """A whole page. ``title`` and ``body`` are HTML; ``here`` is the path of the page."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title} - anomaly-exporter</title><style>{STYLE}</style></head><body>\n"
        f"<header><b>anomaly-exporter</b>{_navigation(here) if viewer else ''}</header>\n"
        f"<main><h1>{title}</h1>\n{''.join(map(_note, notes))}{body}</main>\n{_footer(viewer)}</body></html>\n"
    ).encode("utf-8", "replace")


def _navigation(here: str) -> str:
    current = {path: ' aria-current="page"' for path, _ in LINKS if path.strip("./") == here.strip("/")}
    return "".join(f'<a href="{path}"{current.get(path, "")}>{words}</a>' for path, words in LINKS)


def _footer(viewer: Viewer | None) -> str:
    if viewer is None:
        return ""
    identity = viewer.identity
    out = ""
    if identity.via == "session":
        out = form("sign-out", viewer, button("Sign out", style="quiet"))
    return f"<footer><span>{text(identity.name)}, {identity.role}</span>{out}</footer>\n"


def _note(note: Note) -> str:
    lines = "".join(f"<li>{text(line)}</li>" for line in note.lines)
    role = "alert" if note.kind == "bad" else "status"
    words = note.words[:1].upper() + note.words[1:]
    return (
        f'<div class="card note {attribute(note.kind)}" role="{role}"><p>{text(words)}</p>'
        f"{f'<ul>{lines}</ul>' if lines else ''}</div>\n"
    )


def hidden(name: str, value: str) -> str:
    """A field that is not shown."""
    return f'<input type="hidden" name="{attribute(name)}" value="{attribute(value)}">'


def field(
    name: str,
    words: str,
    value: str = "",
    *,
    kind: str = "text",
    hint: str = "",
    more: Mapping[str, object] | None = None,
) -> str:
    """A labelled line to write on. ``words`` and ``hint`` are plain text, ``more`` further attributes."""
    extra = "".join(f' {key}="{attribute(item)}"' for key, item in (more or {}).items())
    about, described = _hint(name, hint)
    return (
        f'<div><label class="f" for="{attribute(name)}">{escape(words)}</label>'
        f'<input id="{attribute(name)}" name="{attribute(name)}" type="{kind}" value="{attribute(value)}"'
        f"{described}{extra}>{about}</div>"
    )


def choose(name: str, words: str, options: Mapping[str, str], value: str = "", *, hint: str = "") -> str:
    """A labelled list to choose one of: value -> words."""
    about, described = _hint(name, hint)
    made = "".join(
        f'<option value="{attribute(key)}"{" selected" if key == value else ""}>{escape(shown)}</option>'
        for key, shown in options.items()
    )
    return (
        f'<div><label class="f" for="{attribute(name)}">{escape(words)}</label>'
        f'<select id="{attribute(name)}" name="{attribute(name)}"{described}>{made}</select>{about}</div>'
    )


def area(name: str, words: str, value: str, longest: int) -> str:
    """A labelled field for several lines."""
    identity = attribute(name)
    return (
        f'<label class="f" for="{identity}">{escape(words)}</label>'
        f'<textarea id="{identity}" name="{identity}" maxlength="{longest}">\n{escape(value)}</textarea>'
    )


def tick(name: str, value: str, words: str, *, checked: bool, kind: str = "checkbox", hint: str = "") -> str:
    """A box to tick (``checkbox``) or one of several to pick (``radio``)."""
    about = f'<span class="hint">{escape(hint)}</span>' if hint else ""
    return (
        f'<label class="choice"><input type="{kind}" name="{attribute(name)}" value="{attribute(value)}"'
        f"{' checked' if checked else ''}{' required' if kind == 'radio' else ''}>"
        f"<span>{text(words)}{about}</span></label>"
    )


def _hint(name: str, hint: str) -> tuple[str, str]:
    if not hint:
        return "", ""
    identity = attribute(f"{name}-hint")
    return f'<span class="hint" id="{identity}">{escape(hint)}</span>', f' aria-describedby="{identity}"'


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[int] = ()) -> str:
    """A table of HTML cells; on a phone a row becomes lines that begin with the name of their column."""

    styles = [_class("n" if column in numbers else "") for column in range(len(head))]
    names = [f' data-name="{attribute(name)}"' if name and i else "" for i, name in enumerate(head)]
    top = "".join(f'<th scope="col"{style}>{escape(name)}</th>' for name, style in zip(head, styles, strict=True))
    lines = "".join(
        f"<tr>{''.join(f'<td{styles[i]}{names[i]}>{cell}</td>' for i, cell in enumerate(row))}</tr>\n" for row in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>\n{lines}</tbody></table>"


def form(action: str, viewer: Viewer, inside: str) -> str:
    """A form that changes something."""
    return f'<form method="post" action="{attribute(action)}">{hidden("form", viewer.form)}{inside}</form>\n'


def button(words: str, *, style: str = "", allowed: bool = True) -> str:
    """The button that sends a form."""
    return f"<button{_class(style)}{'' if allowed else ' disabled'}>{words}</button>"


def _class(style: str) -> str:
    return f' class="{style}"' if style else ""


def may_not(viewer: Viewer, role: str) -> list[Note]:
    """What to tell somebody who may only look."""
    return [Note("warn", f"You may look at this page. Changing something needs the role {role}.")]
