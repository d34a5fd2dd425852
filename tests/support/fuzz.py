"""Requests made of the description of the API, good and bad ones, and raw ones that no description knows."""

from __future__ import annotations

import copy
import random
import socket
import string
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from anomaly_exporter.control import openapi

CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
PAGES: Final = ("/", "/train", "/stop", "/feedback", "/sign-in", "/sign-out")


def described(targets: list[str], moment: int) -> Any:
    """The description, with targets that there are and a time at ``moment``: so that requests get past first checks."""
    document = copy.deepcopy(openapi.description())
    names = {"type": "string", "enum": [*targets, "nothing"]}
    for operations in document["paths"].values():
        for operation in operations.values():
            for parameter in operation["parameters"]:
                if parameter["name"] == "target":
                    parameter["schema"] = names
    schemas = document["components"]["schemas"]
    schemas["StartTrainings"]["properties"]["targets"]["items"] = names
    said = schemas["AddFeedback"]["properties"]
    said["start"] = {"enum": [str(moment), str(moment * 1000)]}
    said["end"] = {"enum": [str(moment + 60), "1"]}
    said["target"] = {"enum": [*targets, None]}
    value = {"type": "string", "maxLength": 500}
    known = {"properties": {"namespace": value, "metric": value}, "additionalProperties": False}
    said["labels"] = {"type": "object", "minProperties": 1, **known}
    schemas["AddFeedback"]["required"].append("labels")
    return schemathesis.openapi.from_dict(document)


def fuzz(
    url: str, token: str | None, targets: list[str], examples: int, *, seed: int = 0, moment: int = 1_769_860_800
) -> Counter[int]:
    """Send ``examples`` requests to every operation, half of them against its description; answers by status.

    Raises:
        AssertionError, FailureGroup: an answer was a 5xx, or not one that the description knows.
    """
    answers: Counter[int] = Counter()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    for found in described(targets, moment).get_all_operations():
        operation = found.ok()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            strategy = operation.as_strategy(generation_mode=mode)

            @seeded(seed)
            @settings(
                max_examples=max(examples // 2, 1),
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=strategy)
            def send(case: Any) -> None:
                response = case.call(base_url=url, headers=headers, timeout=20)
                answers[response.status_code] += 1
                # 400 and the like of a head that no HTTP server accepts, and methods of other paths.
                if response.status_code not in (400, 404, 405, 414, 431):
                    case.validate_response(response, checks=CHECKS)
                assert response.status_code < 500, (case.method, case.path, response.text)

            send()
    return answers


def raw_requests(count: int, seed: int, secrets: Mapping[str, str]) -> Iterator[bytes]:
    """Bytes that a browser, a broken program or an attacker might send; ``secrets`` are headers put into some."""
    dice = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    forms = [b"form=x&target=cpu&verdict=expected&from=1&to=2", b"{", b"%" * 50, b"\x00" * 20, b"a=1&" * 500, b""]
    kinds = ["application/x-www-form-urlencoded", "application/json", "multipart/form-data; boundary=x", ""]
    for _ in range(count):
        noise = "".join(
            dice.choices(string.printable.replace("\r", "").replace("\n", "") + "é\x00", k=dice.randint(0, 60))
        )
        path = dice.choice([*PAGES, "/api/v1/trainings", "/api/v1/feedback", f"/{noise}", "/api/v1/feedback/" + noise])
        query = dice.choice(
            ["", "?said=x", f"?verdict={noise}&from={noise}&label.namespace={noise}", "?" + "a=1&" * 300]
        )
        method = dice.choice(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", noise[:8] or "X"])
        body = dice.choice(forms)
        lines = [f"{method} {path.replace(' ', '+')}{query.replace(' ', '+')} HTTP/1.1", "Host: x", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in secrets.items() if dice.random() < 0.5]
        lines += [f"Cookie: {noise}"] if dice.random() < 0.3 else []
        lines += [
            f"Content-Type: {dice.choice(kinds)}",
            f"Content-Length: {dice.choice([len(body)] * 8 + [10**9, -1])}",
        ]
        yield "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + body


def send_raw(address: tuple[str, int], request: bytes, seen: Callable[[bytes], None]) -> int:
    """Send bytes; the status of the answer, 0 for none. ``seen`` gets all of it."""
    with socket.create_connection(address, timeout=20) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while part := connection.recv(65_536):
            answer += part
    seen(answer)
    return int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0
