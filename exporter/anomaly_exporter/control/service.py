"""The listener: who answers what."""

from __future__ import annotations

from anomaly_exporter.config import Config
from anomaly_exporter.http_server import Address, Limits, Request, Response, Server, parse_address
from anomaly_exporter.self_metrics import SelfMetrics

from . import audit
from .api import Api
from .auth import Door
from .desk import Desk
from .operations import PREFIX
from .pages import Pages
from .signing import Signer
from .tokens import Tokens


def pages_url(config: Config) -> str:
    """Where links of dashboards lead: to the pages or, where there are none, to what says how to have them."""
    control = config.control
    if control.enabled and control.external_url:
        return control.external_url.rstrip("/")
    return f"{config.links.runbook_url.rstrip('/')}/../control.md#"


class ControlService:
    """Serves the API and the pages of ``config.control`` from :meth:`start` to :meth:`stop`.

    Raises:
        ValueError, OSError: the address makes no sense or cannot be bound.
    """

    def __init__(self, config: Config, desk: Desk, metrics: SelfMetrics) -> None:
        control = config.control
        tokens = Tokens(control.tokens_file, lambda count: metrics.set("control_tokens", count))
        tokens.all()
        door = Door(config, tokens, Signer(float(control.session)), metrics)
        self._api = Api(desk, door, metrics)
        self._pages = Pages(desk, door, metrics, control.tokens_file is not None)
        audit.begin(metrics)
        limits = Limits(control.max_connections, float(control.request_deadline))
        self._server = Server([parse_address(control.listen)], self._handle, limits, metrics, "control")

    @property
    def address(self) -> Address:
        """Where it listens; the port is the real one."""
        return self._server.addresses[0]

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        """End within a deadline. Idempotent."""
        self._server.stop()

    def _handle(self, request: Request) -> Response:
        if request.path == "/api" or request.path.startswith(f"{PREFIX.rpartition('/')[0]}/"):
            return self._api.handle(request)
        return self._pages.handle(request)
