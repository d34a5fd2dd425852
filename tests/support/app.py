"""An application with a metrics page, for tests of the sidecar: ``with Application(page) as app: app.url``."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

TEXT = "text/plain; version=0.0.4; charset=utf-8"


class Application:
    """Serves what ``page()`` returns, text or bytes, as ``content_type`` with ``status``; counts ``scrapes``."""

    def __init__(self, page: Callable[[], str | bytes], content_type: str = TEXT) -> None:
        self.page = page
        self.content_type = content_type
        self.status = 200
        self.scrapes = 0
        app = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                app.scrapes += 1
                body = app.page()
                data = body.encode() if isinstance(body, str) else body
                self.send_response(app.status)
                self.send_header("Content-Type", app.content_type)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/metrics"

    def __enter__(self) -> Application:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
