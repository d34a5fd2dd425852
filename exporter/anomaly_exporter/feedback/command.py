"""The bodies of ``anomaly-exporter feedback``."""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TextIO

from anomaly_exporter.blobs import BlobError, open_blobs
from anomaly_exporter.clock import Clock
from anomaly_exporter.config import Config, ConfigError, load, parse_duration
from anomaly_models.frame import Span

from .matchers import Matcher, MatcherError, parse_matcher
from .record import Record, RecordError, Verdict, to_json
from .store import Feedback
from .sync import Listener, said
from .table import Reading, TableError, parse, write
from .timeline import Conflict

EXIT_OK, EXIT_CONFIG, EXIT_SOURCE, EXIT_STORE = 0, 2, 3, 5
MAX_TABLE: Final = 64 * 2**20
Body = Callable[[Config, Feedback, Clock], int]


def run_add(  # noqa: PLR0917  options of the command line
    config_path: Path,
    verdict: Verdict,
    span: tuple[str, str],
    target: str | None,
    matches: Sequence[str],
    text: Mapping[str, str | None],
    output: str = "text",
) -> int:
    """Append one statement and print it; ``text``: author, comment, fixed_by. The exit code."""

    def body(config: Config, feedback: Feedback, clock: Clock) -> int:
        _known_target(config, target)
        matchers = tuple(parse_matcher(m) for m in matches)
        if target is None and not matchers:
            raise ConfigError("expected --target or --match: which entities?")
        start, end = (int(clock.to_data(instant(t, clock.wall()))) for t in span)
        record = feedback.say(
            verdict,
            Span(start, max(end, start)),
            author=text.get("author") or _user(),
            source="cli",
            target=target,
            matchers=matchers,
            comment=text.get("comment") or "",
            fixed_by=text.get("fixed_by") or "",
        )
        _print([record], (), output, clock)
        return EXIT_OK

    return _run(config_path, body)


def run_list(config_path: Path, target: str | None, span: tuple[str, str] | None, every: bool, output: str) -> int:
    """Print what is in force and the conflicts, or ``every`` version of every statement; the exit code."""

    def body(config: Config, feedback: Feedback, clock: Clock) -> int:
        _known_target(config, target)
        if every:
            _print(feedback.records(), (), output, clock)
            return EXIT_OK
        part = None
        if span:
            start, end = (int(clock.to_data(instant(t, clock.wall()))) for t in span)
            part = Span(start, max(start, end))
        view = feedback.current(target, part)
        _print(view.statements, view.conflicts, output, clock)
        return EXIT_OK

    return _run(config_path, body)


def run_withdraw(config_path: Path, identity: str, author: str | None) -> int:
    """Take a statement back; the exit code."""

    def body(config: Config, feedback: Feedback, clock: Clock) -> int:
        if feedback.withdraw(identity, author=author or _user(), source="cli") is None:
            raise ConfigError(f"no statement {identity!r} is in force; see `anomaly-exporter feedback list`")
        return EXIT_OK

    return _run(config_path, body)


def run_import(config_path: Path, table: Path, reading: Reading, author: str | None, output: str) -> int:
    """Append the statements of a CSV table that are not there yet; the exit code. A wrong table changes nothing."""

    def body(config: Config, feedback: Feedback, clock: Clock) -> int:
        with table.open(encoding="utf-8-sig", newline="") as file:
            text = file.read(MAX_TABLE + 1)
        if len(text) > MAX_TABLE:
            raise TableError(f"a table has at most {MAX_TABLE} characters")
        found = parse(text, config, reading, author or _user(), clock.wall())
        known = {r.id: said(r)[:5] for r in feedback.current().statements}
        fresh = list({r.id: r for r in found.records if known.get(r.id) != said(r)[:5]}.values())
        feedback.add(fresh)
        out = {"added": len(fresh), "known": len(found.records) - len(fresh), "left_out": dict(found.left_out)}
        if output == "json":
            _line(sys.stdout, out)
        else:
            left = "".join(f", {n} of role {role or 'none'} left out" for role, n in sorted(found.left_out.items()))
            sys.stdout.write(f"{out['added']} statements added, {out['known']} were there{left}\n")
        return EXIT_OK

    return _run(config_path, body)


def run_export(config_path: Path, out: Path | None, target: str | None) -> int:
    """Write what is in force as a CSV table; the exit code."""

    def body(config: Config, feedback: Feedback, clock: Clock) -> int:
        _known_target(config, target)
        text = write(feedback.current(target).statements)
        if out is None:
            sys.stdout.write(text)
        else:
            out.write_text(text, encoding="utf-8", newline="")
        return EXIT_OK

    return _run(config_path, body)


def run_sync(config_path: Path, alerts_of: Callable[[Config], Collection[str]], output: str) -> int:
    """Read silences and annotations once; the exit code, 3 where a source could not be read."""

    def body(config: Config, feedback: Feedback, clock: Clock) -> int:
        listener = Listener(config, clock, feedback, alerts_of(config))
        if not listener.sources:
            raise ConfigError("nothing to read: expected feedback.alertmanager or feedback.grafana")
        code = EXIT_OK
        for source in listener.sources:
            synced = listener.sync(source)
            done = {"added": synced.added, "changed": synced.changed, "withdrawn": synced.withdrawn}
            if synced.error:
                code = EXIT_SOURCE
                sys.stderr.write(f"{source}: {synced.error}\n")
            if output == "json":
                error = str(synced.error) if synced.error else None
                _line(sys.stdout, {"source": source, **done, "skipped": dict(synced.skipped), "error": error})
            elif not synced.error:
                skipped = "".join(f", {n} skipped ({reason})" for reason, n in sorted(synced.skipped.items()))
                counts = ", ".join(f"{n} {what}" for what, n in done.items())
                sys.stdout.write(f"{source}: {counts}{skipped}\n")
        listener.close()
        return code

    return _run(config_path, body)


def instant(text: str, now: float) -> float:
    """Wall time of ``text``: RFC 3339, seconds since 1970, ``now``, or a duration ago such as ``2h``.

    Raises:
        ConfigError: it is none of these.
    """
    if text == "now":
        return now
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return now - float(parse_duration(text))
    except ValueError:
        pass
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"expected a time such as 2026-01-31T12:00:00Z, seconds since 1970, now or 2h (ago), received {text!r:.80}"
        ) from None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def _run(config_path: Path, body: Body) -> int:
    """Run ``body`` with what it needs; what can go wrong as a message and an exit code."""
    try:
        config = load(config_path).config
        clock = Clock.of(config.timing)
        return body(config, Feedback(open_blobs(config.store), clock.wall), clock)
    except (ConfigError, RecordError, MatcherError, TableError) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_CONFIG
    except UnicodeDecodeError as error:
        sys.stderr.write(f"expected a table in UTF-8: {error}\n")
        return EXIT_CONFIG
    except (BlobError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_STORE


def _known_target(config: Config, target: str | None) -> None:
    if target is not None and all(t.name != target for t in config.targets):
        raise ConfigError(f"there is no target {target!r}; known are {[t.name for t in config.targets]}")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _print(records: Sequence[Record], conflicts: Sequence[Conflict], output: str, clock: Clock) -> None:
    if output == "json":
        for record in records:
            _line(sys.stdout, to_json(record))
        for one in conflicts:
            ids = {"winner": one.winner.id, "loser": one.loser.id}
            _line(sys.stdout, {"conflict": {**ids, "start": one.span.start, "end": one.span.end}})
        return
    rows = [("ID", "VERDICT", "FROM", "TO", "ENTITIES", "AUTHOR", "COMMENT")]
    rows += [
        (
            r.id,
            "withdrawn" if r.withdrawn else r.verdict,
            _shown(r.start, clock),
            _shown(r.end, clock),
            _whom(r.target, r.matchers),
            _plain(r.author),
            _plain(r.comment)[:60],
        )
        for r in records
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        sys.stdout.write("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() + "\n")
    for one in conflicts:
        between = f"{_shown(one.span.start, clock)} and {_shown(one.span.end, clock)}"
        sys.stdout.write(
            f"conflict between {between}: {one.winner.id} ({one.winner.verdict}) overrules "
            f"{one.loser.id} ({one.loser.verdict})\n"
        )


def _shown(data: int, clock: Clock) -> str:
    return datetime.fromtimestamp(clock.to_wall(data), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _whom(target: str | None, matchers: Sequence[Matcher]) -> str:
    return _plain((target or "") + "{" + ",".join(map(str, matchers)) + "}")


def _plain(text: str) -> str:
    """``text`` on one line, without what a terminal would obey."""
    return "".join(c if c.isprintable() else " " for c in text)


def _line(out: TextIO, data: Mapping[str, Any]) -> None:
    out.write(json.dumps(data, sort_keys=True) + "\n")
