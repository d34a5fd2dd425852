"""One request for the page, all of it within a deadline and a cap."""

from __future__ import annotations

import requests
import urllib3

from anomaly_exporter.config import ScrapeConnection
from anomaly_exporter.deadline import Adapter, Deadline
from anomaly_exporter.sources.base import SourceAnswerError
from anomaly_exporter.sources.session import explained, refusal, shown

ACCEPT = "application/openmetrics-text;version=1.0.0;q=0.9,text/plain;version=0.0.4;q=0.8,*/*;q=0.1"
_CHUNK = 64 * 1024
_CONNECT = 5.0


class Fetcher:
    """Gets the page again and again over one connection; takes nothing from the environment."""

    def __init__(self, connection: ScrapeConnection) -> None:
        self.connection = connection
        self._session = requests.Session()
        self._session.trust_env = False
        tls = connection.tls
        self._session.verify = False if tls.insecure_skip_verify else str(tls.ca_file) if tls.ca_file else True
        self._session.cert = (str(tls.cert_file), str(tls.key_file)) if tls.cert_file and tls.key_file else None
        self._session.headers.update({"Accept": ACCEPT, "Accept-Encoding": "gzip, identity;q=0.5"})
        self._session.mount(connection.url, Adapter(1))

    def get(self) -> tuple[bytes, str]:
        """The page and its Content-Type. Raises SourceError."""
        seconds = float(self.connection.timeout)
        with Deadline(seconds) as deadline:
            try:
                response = self._session.get(
                    self.connection.url, allow_redirects=False, stream=True, timeout=(min(seconds, _CONNECT), seconds)
                )
                try:
                    body = self._body(response)
                finally:
                    response.close()
                if deadline.expired:
                    raise TimeoutError("deadline passed")
            except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
                raise explained(error, deadline, self.connection.url) from error
        return bytes(body), response.headers.get("Content-Type", "")

    def close(self) -> None:
        self._session.close()

    def _body(self, response: requests.Response) -> bytearray:
        cap = self.connection.max_answer_bytes
        body = bytearray()
        for chunk in response.raw.stream(_CHUNK, decode_content=True):
            body += chunk
            if len(body) > cap:
                where = shown(self.connection.url)
                raise SourceAnswerError(f"{where}: the page is larger than max_answer_bytes = {cap}: it is not used")
        if response.status_code != 200:
            raise refusal(response, body[:_CHUNK])
        return body
