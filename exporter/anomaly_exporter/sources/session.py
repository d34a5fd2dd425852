"""The HTTP session that prometheus-api-client works through: deadlines, caps, credentials, checked answers.

The client builds the requests; left to itself it would read a body of any size for any time, parse all of it into
Python objects and drop the warnings that tell a partial answer. So the session it is given reads, checks and decodes,
and hands back a reply whose ``json()`` is already an :class:`.answers.Answer`. 10,000 series x 60 samples from a
Prometheus on the same machine, to a matrix: 0.39 s of CPU and 91 MB; ``custom_query_range`` as it comes and a loop:
0.78 s and 188 MB.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3

from anomaly_exporter.config import PrometheusConnection
from anomaly_exporter.deadline import Deadline

from .answers import Instants, decode, error_text
from .base import SourceAnswerError, SourceLimitError, SourceRejectedError, SourceUnavailableError

_CONNECT = 10.0
_CHUNK = 256 * 1024
_ERROR_BYTES = 64 * 1024
# A query longer than this goes into the body of a POST: gateways cap the request line.
_LONGEST_LINE = 4000
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})


class Reply:
    """What prometheus-api-client needs of a response."""

    status_code = 200

    def __init__(self, result: object) -> None:
        self._result = result

    def json(self) -> dict[str, dict[str, object]]:
        return {"data": {"result": self._result}}


class CheckedSession(requests.Session):
    """Answers come as :class:`Reply`, everything else as a SourceError.

    Nothing is taken from the environment (proxies, ``.netrc``): what may see the credentials is in the configuration.
    The instants of the next request are set by ``expect``, per thread.
    """

    def __init__(self, connection: PrometheusConnection) -> None:
        super().__init__()
        self.connection = connection
        self.trust_env = False
        tls = connection.tls
        self.verify = False if tls.insecure_skip_verify else str(tls.ca_file) if tls.ca_file else True
        self.cert = (str(tls.cert_file), str(tls.key_file)) if tls.cert_file and tls.key_file else None
        # Packing costs the server more than the few hops in a cluster save: 0.8 s against 0.2 s for 17 MB.
        self.headers.update({"Accept": "application/json", "Accept-Encoding": "identity", **connection.headers})
        self._expected = threading.local()

    @contextmanager
    def expect(self, instants: Instants) -> Iterator[None]:
        """Requests of this thread are answered at ``instants``."""
        self._expected.instants = instants
        try:
            yield
        finally:
            self._expected.instants = None

    def request(  # type: ignore[override]
        self, method: str | bytes, url: str | bytes, *args: Any, timeout: float = 30.0, **kwargs: Any
    ) -> Reply:
        """One request, all of it within ``timeout`` seconds. Raises SourceError."""
        if len(str(kwargs.get("params") or "")) > _LONGEST_LINE:
            method, kwargs["data"], kwargs["params"] = "POST", kwargs["params"], None
        kwargs["headers"] = {**(kwargs.get("headers") or {}), **self._credentials()}
        kwargs.update(allow_redirects=False, stream=True, timeout=(min(timeout, _CONNECT), timeout))
        with Deadline(timeout) as deadline:
            try:
                response = super().request(method, url, *args, **kwargs)
                try:
                    body = self._read(response)
                finally:
                    response.close()
                if deadline.expired:
                    # A socket shut down within the head looks like a head that ended, and an empty body.
                    raise TimeoutError("deadline passed")
            except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
                raise explained(error, deadline, self.connection.url) from error
        return Reply(decode(body, self._expected.instants))

    def _read(self, response: requests.Response) -> bytearray:
        """The body of an answer. Raises SourceError for any other status and for a body beyond the cap."""
        ok = response.status_code == 200
        cap = self.connection.max_answer_bytes if ok else _ERROR_BYTES
        body = bytearray()
        for chunk in response.raw.stream(_CHUNK, decode_content=True):
            body += chunk
            if len(body) > cap:
                if ok:
                    raise SourceAnswerError(f"the answer is larger than max_answer_bytes = {cap}: it is not used")
                break
        if not ok:
            raise refusal(response, body[:cap])
        return body

    def _credentials(self) -> Mapping[str, str]:
        """The Authorization header, from files that are read anew each time so that they can be rotated."""
        if file := self.connection.bearer_token_file:
            return {"Authorization": f"Bearer {_secret(file)}"}
        if basic := self.connection.basic_auth:
            pair = urllib3.make_headers(basic_auth=f"{basic.username}:{_secret(basic.password_file)}")
            return {"Authorization": pair["authorization"]}
        return {}


def shown(url: str) -> str:
    """``url`` without what may be secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"


def _secret(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceRejectedError(f"the secret in {file} cannot be read: {error}") from error
    if not text or not text.isprintable():
        raise SourceRejectedError(f"expected one line of text in {file}, received {len(text)} characters")
    return text


def refusal(response: requests.Response, body: bytes | bytearray) -> Exception:
    """The error that a status other than 200 stands for."""
    status, text = response.status_code, error_text(body)
    if 300 <= status < 400:
        where = shown(response.headers.get("Location", ""))
        return SourceRejectedError(f"HTTP {status}: redirected to {where}; redirects are not followed, correct the url")
    if status == 422:
        return SourceLimitError(f"HTTP 422: {text}")
    if status in _BUSY or status >= 500:
        return SourceUnavailableError(f"HTTP {status}: {text}", _retry_after(response.headers.get("Retry-After")))
    if 400 <= status < 500:
        return SourceRejectedError(f"HTTP {status}: {text}")
    return SourceAnswerError(f"expected HTTP 200, received {status}")


def _retry_after(value: str | None) -> float | None:
    """Wall seconds to wait, from a number of seconds or an HTTP date."""
    if value is None:
        return None
    with suppress(ValueError):
        return max(float(int(value)), 0.0)
    with suppress(ValueError, TypeError):
        return max(parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    return None


def explained(error: Exception, deadline: Deadline, url: str) -> Exception:
    """What failed on the way, as a SourceError."""
    if deadline.expired or isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError | TimeoutError):
        return SourceUnavailableError(f"{shown(url)}: no complete answer within {deadline.seconds:.1f} s")
    if isinstance(error, requests.exceptions.SSLError):
        return SourceRejectedError(f"{shown(url)}: TLS failed: {error}")
    if isinstance(error, urllib3.exceptions.DecodeError | requests.exceptions.ContentDecodingError):
        return SourceAnswerError(f"{shown(url)}: the packed body cannot be unpacked: {error}")
    if isinstance(error, requests.ConnectionError | urllib3.exceptions.HTTPError | ConnectionError):
        return SourceUnavailableError(f"{shown(url)}: {error}")
    return SourceRejectedError(f"{shown(url)}: the request cannot be sent: {error}")
