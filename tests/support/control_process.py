"""A running `serve` with the control API, over the simulator, at a speed at which a cycle takes half a second."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from support.control import TOKENS
from support.waiting import wait_for

ORIGIN = 1_800_000_000 // 3600 * 3600


class Running:
    """A process over the simulator, at a speed at which a cycle takes half a second."""

    def __init__(self, root: Path) -> None:
        entries = [{"name": role, "role": role, "token": token} for role, token in TOKENS.items()]
        (root / "tokens.yaml").write_text(yaml.safe_dump({"tokens": entries}))
        self.document: dict[str, Any] = {
            "simulator": {"origin": ORIGIN - 30 * 86_400},
            "store": {"path": str(root / "data")},
            "timing": {"speed": 120, "wall_origin": int(time.time()), "data_origin": ORIGIN},
            "targets": [
                {
                    "name": "cpu",
                    "metric": "cpu",
                    "queries": [{"name": "cpu", "expr": "eagle_pod_container_resource_usage_cpu_cores"}],
                    "models": ["zscore"],
                    "training": {"history": "12h", "every": "30d"},
                }
            ],
            "control": {"enabled": True, "listen": "127.0.0.1:0", "tokens_file": str(root / "tokens.yaml")}
            | {"rate_per_minute": 1200, "burst": 200},
        }
        self.path, self.log = root / "config.yaml", root / "log"
        self.path.write_text(yaml.safe_dump(self.document))
        command = [sys.executable, "-m", "anomaly_exporter", "serve", "-c", str(self.path), "--log.format=json"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([*command, "--web.listen-address=127.0.0.1:0"], stderr=log)
        wait_for(lambda: "control listens" in self.log.read_text(), 60, "both listeners")
        found = re.findall(r"http://(127\.0\.0\.1:\d+)", self.log.read_text())
        self.metrics_url, self.control = f"http://{found[0]}", found[-1]

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.metrics_url + path, timeout=10) as answer:
            return str(answer.read().decode())

    def ask(self, method: str, path: str, document: Any = None, token: str = TOKENS["operator"]) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(self.control, timeout=20)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        connection.request(method, f"/api/v1{path}", None if document is None else json.dumps(document), headers)
        answer = connection.getresponse()
        body = json.loads(answer.read())
        connection.close()
        return answer.status, body

    def state(self) -> str:
        return str(self.ask("GET", "/trainings")[1]["trainings"][0]["state"])
