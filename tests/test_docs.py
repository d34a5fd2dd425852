"""The documents tell the truth: links lead somewhere, commands exist, examples are valid."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from anomaly_exporter.cli import cli
from anomaly_exporter.config import parse

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("rules/**/*.md"), *ROOT.glob("bench/*.md")])
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def fences(page: Path, *languages: str) -> list[str]:
    return [body for language, body in FENCE.findall(page.read_text(encoding="utf-8")) if language in languages]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    links = [
        x for x in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in x and not x.startswith("mailto:")
    ]
    broken = [x for x in links if not (page.parent / x).exists()]
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_in_a_shell_example_exists_with_its_flags(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in "\n".join(fences(page, "sh", "bash", "console")).replace("\\\n", " ").splitlines():
        words = shlex.split(line.removeprefix("$ ").split("|")[0].split(">")[0], comments=True)
        while words and ("=" in words[0] or words[0] == "sudo"):
            words = words[1:]
        if words[:1] == ["make"]:
            assert words[1] in targets, f"{line!r}: the Makefile has no target {words[1]!r}"
        if words and Path(words[0]).name == "anomaly-exporter":
            accepts(words[1:], line)


def accepts(words: list[str], line: str) -> None:
    """The command exists and knows every flag of ``words``."""
    assert words, f"{line!r}: no command"
    if words[0].startswith("-"):
        return
    command = cli.commands.get(words[0])
    assert isinstance(command, click.Command), f"{line!r}: there is no command {words[0]!r}"
    rest = words[1:]
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        assert rest[0] in command.commands, f"{line!r}: {command.name} has no command {rest[0]!r}"
        command, rest = command.commands[rest[0]], rest[1:]
    flags = {f for p in command.params for f in p.opts} | {"-h", "--help"}
    for word in rest:
        if word.startswith("-") and len(word) > 1:
            assert word.split("=")[0] in flags, f"{line!r}: {words[0]} has no flag {word.split('=')[0]}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_example_configuration_is_valid(page: Path) -> None:
    for body in fences(page, "yaml"):
        if re.search(r"^(prometheus|files|scrape|simulator):", body, re.MULTILINE):
            assert parse(body).targets


def test_the_readme_fits_its_promise_of_two_commands() -> None:
    commands = "\n".join(fences(ROOT / "README.md", "sh"))
    assert re.search(r"^make demo", commands, re.MULTILINE)
    assert re.search(r"^make test\b", commands, re.MULTILINE)
