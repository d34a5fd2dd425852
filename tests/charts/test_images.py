"""The Dockerfile keeps its promises as far as they can be read from it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
LINES = [line.strip() for line in TEXT.splitlines() if line.strip() and not line.startswith("#")]


def stages() -> dict[str, tuple[str, list[str]]]:
    """Name -> (what it is from, its instructions), in order."""
    out: dict[str, tuple[str, list[str]]] = {}
    for line in LINES:
        if found := re.match(r"FROM (\S+) AS (\S+)$", line):
            out[found.group(2)] = (found.group(1), [])
            last = found.group(2)
        elif out:
            out[last][1].append(line)
    return out


def names_of(lock: str) -> set[str]:
    text = (ROOT / lock).read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z0-9._-]+)==", text, re.MULTILINE))


def test_there_are_two_images_and_serve_is_what_a_plain_build_gives() -> None:
    assert {"serve", "train"} <= stages().keys()
    assert list(stages())[-1] == "serve"
    assert {stages()[name][0] for name in ("serve", "train")} == {"runtime"}


def test_the_user_is_a_number_in_group_0_and_what_is_written_belongs_to_that_group() -> None:
    runtime = stages()["runtime"][1]
    assert [x for x in runtime if x.startswith("USER")] == ["USER 65532:0"]
    assert not [x for name in ("serve", "train") for x in stages()[name][1] if x.startswith("USER")]
    made = next(x for x in runtime if x.startswith("RUN"))
    assert "chown 65532:0 /var/lib/anomaly-exporter" in made
    assert "g=u" in made


def test_the_base_is_a_slim_glibc_image_of_an_exact_version() -> None:
    assert re.search(r"^ARG BASE=python:3\.\d+\.\d+-slim-\w+$", TEXT, re.MULTILINE)
    assert {base for base, _ in stages().values()} <= {"${BASE}", "build", "runtime"}
    assert ":latest" not in TEXT


def test_nothing_is_installed_without_its_hash_but_our_own_wheel() -> None:
    installs = [part for line in LINES for part in line.split("&&") if "pip" in part and " install " in part]
    assert len(installs) == 5
    for part in installs:
        assert "--no-deps" in part
        assert "--require-hashes -r requirements." in part or part.strip().endswith("/dist/*.whl")
    assert not re.search(r"\b(curl|wget|ADD|apt-get)\b", TEXT)


def test_the_final_images_get_one_folder_of_packages_without_installer_and_cache() -> None:
    for name in ("serve", "train"):
        assert stages()[name][1] == [f"COPY --from={name}-packages /opt/anomaly-exporter /opt/anomaly-exporter"]
        made = "".join(stages()[f"{name}-packages"][1])
        assert "--without-pip" in made
        assert f"requirements.{name}.lock" in made
    assert "PIP_NO_CACHE_DIR=1" in "".join(stages()["build"][1])


def test_the_serving_image_is_without_what_is_never_imported() -> None:
    """What the Dockerfile removes must not be needed by what serving imports."""
    made = "".join(stages()["serve-packages"][1])
    removed = re.findall(r"kubernetes/(\w+)", re.search(r"rm -rf ([^&]+)", made)[1])  # type: ignore[index]
    assert "aio" in removed
    program = "import sys, kubernetes.client, kubernetes.config, anomaly_exporter.serve; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not {f"kubernetes.{name}" for name in removed} & loaded
    assert not [name for name in loaded if name.startswith("numpy") and ".tests" in name]
    assert "compileall -q -j 0 -x '/kubernetes/'" in made


def test_every_file_that_is_copied_exists_and_is_let_through() -> None:
    through = {x.removeprefix("!") for x in (ROOT / ".dockerignore").read_text().split() if x.startswith("!")}
    copied = {
        word for line in LINES if line.startswith("COPY ") and "--from" not in line for word in line.split()[1:-1]
    }
    assert copied
    assert copied == through
    assert all((ROOT / name).exists() for name in copied)


def test_the_serving_image_is_without_tensorflow_pandas_and_scikit_learn() -> None:
    serve, train = names_of("requirements.serve.lock"), names_of("requirements.train.lock")
    heavy = {"tensorflow-cpu", "keras", "pandas", "scikit-learn", "pyarrow"}
    assert not serve & heavy
    assert heavy <= train
    assert serve <= train


@pytest.mark.parametrize("lock", ["serve", "train", "build"])
def test_every_pinned_package_has_hashes(lock: str) -> None:
    text = (ROOT / f"requirements.{lock}.lock").read_text(encoding="utf-8")
    entries = re.split(r"\n(?=\S)", text.strip())
    assert entries
    assert all("--hash=sha256:" in entry for entry in entries)


@pytest.mark.parametrize("label", ["title", "description", "source", "licenses", "version", "revision"])
def test_the_images_carry_the_label(label: str) -> None:
    assert f"org.opencontainers.image.{label}=" in TEXT
