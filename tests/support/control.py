"""The control API as it runs, over a launcher, a store and a snapshot that a test chooses."""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml

from anomaly_exporter.blobs import DirectoryBlobs
from anomaly_exporter.clock import Clock
from anomaly_exporter.config import Config
from anomaly_exporter.control import ControlService, Desk
from anomaly_exporter.feedback import Feedback
from anomaly_exporter.generations import Generations
from anomaly_exporter.launch import IdleLauncher, Launcher
from anomaly_exporter.self_metrics import SelfMetrics
from anomaly_exporter.snapshot import Snapshot, TargetView
from support.launchers import TARGETS
from support.snapshots import NOW, config_of, entry_of, scores_of

TOKENS = {role: f"{role}-secret-{'x' * 20}" for role in ("viewer", "operator", "admin")}
"""Role -> token; the name of each entry is the role, too."""
LABELS = {"namespace": "shop", "container": "cart"}


@dataclass(frozen=True)
class Answer:
    """What came back; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def form(self) -> str:
        """The token of the page's forms."""
        found = re.search(r'name="form" value="([^"]+)"', self.text)
        assert found, self.text
        return found.group(1)


class Bench:
    """A started control API; ``config``, ``snapshot`` and ``launcher`` may be replaced while it runs."""

    def __init__(
        self, folder: Path, launcher: Launcher | None = None, config: Config | None = None, **control: Any
    ) -> None:
        self.folder = folder
        self.tokens_file = folder / "tokens.yaml"
        self.write_tokens({role: {"role": role, "token": token} for role, token in TOKENS.items()})
        section = {"enabled": True, "listen": "127.0.0.1:0", "tokens_file": str(self.tokens_file), "burst": 10_000}
        base = config or config_of(*TARGETS)
        given = {key: value for key, value in {**section, **control}.items() if value is not None}
        self.config = Config.model_validate({**base.model_dump(exclude_unset=True), "control": given})
        self.metrics = SelfMetrics()
        self.launcher = launcher or IdleLauncher(self.config, self.metrics)
        self.snapshot: Snapshot | None = None
        blobs = DirectoryBlobs(folder / "store")
        self.feedback, self.generations = Feedback(blobs), Generations(blobs)
        desk = Desk(
            config=lambda: self.config,
            snapshot=lambda: self.snapshot,
            launcher=self.launcher,
            generations=self.generations,
            feedback=self.feedback,
            clock=Clock(),
        )
        self.service = ControlService(self.config, desk, self.metrics)

    @property
    def url(self) -> str:
        return f"http://{self.service.address}"

    def write_tokens(self, entries: Mapping[str, Mapping[str, str]]) -> None:
        """Put a file of tokens in force."""
        tokens = [{"name": name, **entry} for name, entry in entries.items()]
        temporary = self.tokens_file.with_suffix(".new")
        temporary.write_text(yaml.safe_dump({"tokens": tokens}))
        temporary.rename(self.tokens_file)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        role: str | None = "operator",
    ) -> Answer:
        """One request as it is."""
        sent = dict(headers or {})
        if role:
            sent.setdefault("Authorization", f"Bearer {TOKENS[role]}")
        connection = http.client.HTTPConnection(self.service.address.host, self.service.address.port, timeout=10)
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def api(self, method: str, path: str, document: Any = None, *, role: str | None = "operator") -> Answer:
        """One call of the API."""
        json_type = {"Content-Type": "application/json"} if document is not None else {}
        body = None if document is None else json.dumps(document)
        return self.ask(method, f"/api/v1{path}", body, json_type, role=role)

    def post(self, path: str, fields: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Answer:
        """Send a form as a browser does: with a cookie and without credentials."""
        form = {"Content-Type": "application/x-www-form-urlencoded", **(headers or {})}
        return self.ask("POST", path, urlencode(fields, doseq=True), form, role=None)

    def cookie(self, role: str) -> dict[str, str]:
        """Sign in: the header that a browser sends from then on."""
        answer = self.post("/sign-in", {"token": TOKENS[role], "back": "/"})
        assert answer.status == 303, answer.text
        return {"Cookie": answer.headers["set-cookie"].partition(";")[0]}

    def counted(self, name: str, **labels: str) -> float:
        return self.metrics.value(f"control_{name}", **labels) or 0.0


@contextmanager
def control(folder: Path, *arguments: Any, **options: Any) -> Iterator[Bench]:
    """A bench that is started, and stopped at the end."""
    bench = Bench(folder, *arguments, **options)
    bench.service.start()
    try:
        yield bench
    finally:
        bench.service.stop()


def snapshot_of(series: int = 2, target: str = "cpu", name: Callable[[int], str] = "cart-{}".format) -> Snapshot:
    """``series`` scored entities of one target; those behind have the higher scores."""
    entries = [entry_of(target, {"namespace": "shop", "container": name(i)}) for i in range(series)]
    view = TargetView(target, NOW, time.time(), series, (scores_of(entries),))
    return Snapshot(time.time(), (view,))
