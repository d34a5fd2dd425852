"""One small JSON answer over HTTP, all of it within a deadline and a cap."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import requests
import urllib3

from anomaly_exporter.config import AlertmanagerFeedback, GrafanaFeedback
from anomaly_exporter.deadline import Adapter, Deadline

MAX_BYTES: Final = 16 * 2**20
_CHUNK: Final = 64 * 1024
_CONNECT: Final = 5.0


class UnheardError(Exception):
    """Silences or annotations cannot be read; ``outcome`` is a word fit for a metric label.

    ``unavailable``: later it may work; ``rejected``: the configuration or a secret is wrong; ``invalid``: the answer.
    """

    def __init__(self, message: str, outcome: str) -> None:
        super().__init__(message)
        self.outcome = outcome


class Client:
    """Asks one server; takes nothing from the environment and follows no redirect, so that credentials stay there."""

    def __init__(self, connection: AlertmanagerFeedback | GrafanaFeedback) -> None:
        self.connection = connection
        self._session = requests.Session()
        self._session.trust_env = False
        tls = connection.tls
        self._session.verify = False if tls.insecure_skip_verify else str(tls.ca_file) if tls.ca_file else True
        self._session.cert = (str(tls.cert_file), str(tls.key_file)) if tls.cert_file and tls.key_file else None
        self._session.headers.update({"Accept": "application/json", "Accept-Encoding": "identity"})
        self._session.mount(connection.url, Adapter(1))

    def get(self, path: str, params: Sequence[tuple[str, str]] = ()) -> Any:
        """The JSON at ``path``. Raises UnheardError."""
        seconds = float(self.connection.timeout)
        with Deadline(seconds) as deadline:
            try:
                response = self._session.get(
                    self.connection.url + path,
                    params=list(params),
                    headers=self._credentials(),
                    allow_redirects=False,
                    stream=True,
                    timeout=(min(seconds, _CONNECT), seconds),
                )
                try:
                    body = self._body(response)
                finally:
                    response.close()
                if deadline.expired:
                    raise TimeoutError("deadline passed")
            except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
                why = f"no complete answer within {seconds:g} s" if deadline.expired else _plain(error)
                raise UnheardError(f"{self.shown}{path}: {why}", "unavailable") from error
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            raise UnheardError(
                f"{self.shown}{path}: expected JSON, received {bytes(body[:80])!r}", "invalid"
            ) from error

    def close(self) -> None:
        """Close the connection that is kept."""
        self._session.close()

    @property
    def shown(self) -> str:
        """The URL without what may be secret."""
        parts = urllib3.util.parse_url(self.connection.url)
        return f"{parts.scheme}://{parts.host}{f':{parts.port}' if parts.port else ''}{parts.path or ''}"

    def _body(self, response: requests.Response) -> bytearray:
        status = response.status_code
        if status != 200:
            outcome = "unavailable" if status in (408, 425, 429) or status >= 500 else "rejected"
            hint = "; redirects are not followed, correct the url" if 300 <= status < 400 else ""
            raise UnheardError(f"{self.shown}: expected HTTP 200, received {status}{hint}", outcome)
        body = bytearray()
        for chunk in response.raw.stream(_CHUNK, decode_content=True):
            body += chunk
            if len(body) > MAX_BYTES:
                raise UnheardError(f"{self.shown}: the answer is larger than {MAX_BYTES} bytes", "invalid")
        return body

    def _credentials(self) -> Mapping[str, str]:
        """The Authorization header, from files that are read anew each time so that they can be rotated."""
        connection = self.connection
        if isinstance(connection, GrafanaFeedback):
            return {"Authorization": f"Bearer {_secret(connection.token_file)}"}
        if connection.bearer_token_file:
            return {"Authorization": f"Bearer {_secret(connection.bearer_token_file)}"}
        if basic := connection.basic_auth:
            pair = urllib3.make_headers(basic_auth=f"{basic.username}:{_secret(basic.password_file)}")
            return {"Authorization": pair["authorization"]}
        return {}


def _secret(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UnheardError(f"the secret in {file} cannot be read: {type(error).__name__}", "rejected") from error
    if not text or not text.isascii() or not text.isprintable():
        raise UnheardError(f"expected one line of ASCII text in {file}, received {len(text)} characters", "rejected")
    return text


def _plain(error: Exception) -> str:
    """What failed, without the objects that urllib3 prints."""
    return f"{type(error).__name__}: {str(error)[:200]}"
