"""The command line of feedback, as somebody types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from anomaly_exporter.cli import cli
from anomaly_exporter.feedback.command import instant
from support.fake_grafana import fake_grafana
from support.feedback_configs import config_of


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_config(tmp_path)


def write_config(folder: Path, **more: object) -> Path:
    document = json.loads(config_of(folder / "store", **more).model_dump_json(exclude_defaults=True))
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["feedback", *map(str, arguments)])


def add(config: Path, *more: object, verdict: str = "expected") -> Result:
    return run("add", verdict, "-c", config, "--from", 1000, "--to", 2000, "--author", "ada", *more)


def listed(config: Path, *more: object) -> list[dict[str, object]]:
    found = run("list", "-c", config, "--output", "json", *more)
    assert found.exit_code == 0, found.output
    return [json.loads(line) for line in found.stdout.splitlines()]


def test_what_is_said_is_listed(config: Path):
    done = add(config, "--match", "container=a", "--comment", "backup", "--fixed-by", "nothing")
    assert done.exit_code == 0, done.output
    (one,) = listed(config)
    assert (one["verdict"], one["start"], one["end"], one["source"]) == ("expected", 1000, 2000, "cli")
    assert (one["matchers"], one["comment"], one["fixed_by"]) == ([["container", "=", "a"]], "backup", "nothing")


def test_the_table_for_people_names_times_entities_and_conflicts(config: Path):
    add(config, "--target", "cpu", "--match", "container=~a|b", "--comment", "weekly\nbackup\x1b[31m")
    add(config, "--match", "namespace=dmwm", verdict="incident")
    lines = run("list", "-c", config).stdout.splitlines()
    assert lines[0].split() == ["ID", "VERDICT", "FROM", "TO", "ENTITIES", "AUTHOR", "COMMENT"]
    (row,) = [line for line in lines[1:3] if "expected" in line]
    assert 'expected  1970-01-01T00:16:40Z  1970-01-01T00:33:20Z  cpu{container=~"a|b"}' in row
    assert row.endswith("  ada     weekly backup [31m")
    assert lines[3].startswith("conflict between 1970-01-01T00:16:40Z and 1970-01-01T00:33:20Z: cli:")
    assert lines[3].endswith("(expected)")


def test_a_statement_is_withdrawn_by_its_id_and_stays_in_the_past(config: Path):
    add(config, "--match", "container=a")
    identity = listed(config)[0]["id"]
    assert run("withdraw", identity, "-c", config).exit_code == 0
    assert listed(config) == []
    assert [one["withdrawn"] for one in listed(config, "--all")] == [False, True]
    again = run("withdraw", identity, "-c", config)
    assert again.exit_code == 2
    assert "no statement" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "1", "--to", "2"], "which entities"),
        (["--from", "2", "--to", "1", "--target", "cpu"], "start < end"),
        (["--from", "soon", "--target", "cpu"], "expected a time"),
        (["--from", "1", "--target", "disk"], "no target 'disk'"),
        (["--from", "1", "--match", "container"], "expected a matcher"),
        (["--from", "1", "--match", "container=~(a+)+"], "repeated groups"),
        (["--from", "1", "--to", "2", "--target", "cpu", "--comment", "x" * 2001], "at most 2000"),
    ],
)
def test_what_cannot_be_said_is_explained_with_exit_code_2(config: Path, arguments: list[str], message: str):
    said = run("add", "ignore", "-c", config, *arguments)
    assert said.exit_code == 2
    assert message in said.stderr
    assert listed(config) == []


def test_times_are_instants_seconds_now_or_ago():
    assert instant("now", 100.0) == 100
    assert instant("12.5", 100.0) == 12.5
    assert instant("1m", 100.0) == 40
    assert instant("1970-01-01T00:01:00", 0) == 60
    assert instant("1970-01-01T01:01:00+01:00", 0) == 60


TABLE = """dataset,entity,metric,start,end,kind,role,note
aiops,a,*,1000,1600,operator,anomaly,
aiops,b,cpu,2000,2600,operator,ignore,"two, words"
aiops,b,latency,2000.0,2600.0,operator,ambiguous,
aiops,c,*,1,2,operator,info,
nab,x,*,1,2,operator,anomaly,
"""


def test_a_table_of_labels_is_imported_once(config: Path, tmp_path: Path):
    table = tmp_path / "labels.csv"
    table.write_text(TABLE)
    arguments = ("import", table, "-c", config, "--dataset", "aiops", "--target", "cpu")
    assert run(*arguments).stdout == "3 statements added, 0 were there, 1 of role info left out\n"
    assert run(*arguments).stdout == "0 statements added, 3 were there, 1 of role info left out\n"
    found = {(one["verdict"], json.dumps(one["matchers"])) for one in listed(config)}
    assert found == {
        ("incident", '[["container", "=", "a"]]'),
        ("ignore", '[["container", "=", "b"], ["metric", "=", "cpu"]]'),
        ("ignore", '[["container", "=", "b"]]'),
    }


def test_what_is_exported_is_imported_elsewhere_with_the_same_meaning(config: Path, tmp_path: Path):
    add(config, "--target", "cpu", "--match", 'container="a,b"', "--match", "namespace=~d.*", "--comment", 'say "so"')
    add(config, "--match", "metric=memory")
    out = tmp_path / "out.csv"
    assert run("export", "-c", config, "--out", out).exit_code == 0
    (tmp_path / "other").mkdir()
    other = write_config(tmp_path / "other")
    assert run("import", out, "-c", other, "--author", "bob").exit_code == 0
    same = ("verdict", "target", "matchers", "start", "end", "comment")
    here, there = ([str([r[k] for k in same]) for r in listed(path)] for path in (config, other))
    assert sorted(here) == sorted(there)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "expected the columns"),
        ("", "expected the columns"),
        (TABLE, "no target"),
        ("dataset,entity,metric,start,end,kind,role,note\ncpu,a,*,soon,9,x,anomaly,\n", "line 2"),
        ("dataset,entity,metric,start,end,kind,role,note\ncpu,a,*,9,9,x,anomaly,\n", "line 2"),
        ("dataset,entity,metric,start,end,kind,role,note\ncpu,a,*,1,inf,x,anomaly,\n", "line 2"),
        ('dataset,entity,metric,start,end,kind,role,note\ncpu,"a=~(b+)+",*,1,9,x,anomaly,\n', "repeated groups"),
        ("dataset,entity,metric,start,end,kind,role,note\ncpu,a\n", "line 2"),
    ],
)
def test_a_wrong_table_changes_nothing_and_names_its_line(config: Path, tmp_path: Path, text: str, message: str):
    table = tmp_path / "labels.csv"
    table.write_text(text)
    done = run("import", table, "-c", config)
    assert done.exit_code == 2, done.output
    assert message in done.stderr
    assert listed(config) == []


def test_sync_reads_once_and_says_what_came(tmp_path: Path):
    with fake_grafana() as grafana:
        (tmp_path / "token").write_text(grafana.token)
        section = {"grafana": {"url": grafana.url, "token_file": str(tmp_path / "token"), "look_back": "365d"}}
        config = write_config(tmp_path, feedback=section)
        grafana.post(1_790_000_000, 1_790_000_600, ["anomaly:ignore", "container:a"])
        (tmp_path / "token").write_text("other")
        refused = run("sync", "-c", config)
        assert refused.exit_code == 3
        assert "received 401" in refused.stderr
        (tmp_path / "token").write_text(grafana.token)
        done = run("sync", "-c", config, "--output", "json")
    assert done.exit_code == 0
    answer = json.loads(done.stdout)
    assert (answer["source"], answer["error"]) == ("annotation", None)


def test_sync_without_a_source_says_what_to_configure(config: Path):
    done = run("sync", "-c", config)
    assert done.exit_code == 2
    assert "feedback.alertmanager" in done.stderr


def test_rules_name_first_what_people_said_has_fixed_it(config: Path):
    def steps(*more: str) -> str:
        done = CliRunner().invoke(cli, ["render", "rules", "-c", str(config), *more])
        assert done.exit_code == 0, done.output
        return done.stdout

    remedies = config_of().all_remedies
    favourite = remedies[-1].text
    before = steps("--ranked")
    assert before == steps()
    add(config, "--match", "container=a", "--fixed-by", favourite)
    after = steps("--ranked")
    assert after.index(favourite) < after.index(remedies[0].text)
    assert before.index(favourite) > before.index(remedies[0].text)


@pytest.mark.parametrize("command", ["add", "list", "withdraw", "import", "export", "sync"])
def test_every_command_explains_itself_with_an_example(command: str):
    text = run(command, "--help").stdout
    assert f"anomaly-exporter feedback {command}" in text
