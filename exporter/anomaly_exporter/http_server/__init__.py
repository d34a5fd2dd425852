"""A small bounded HTTP server: what a request is, the event loop that serves it, the paths it answers."""

from .address import Address, parse_address
from .protocol import BadRequest, Request, Response
from .server import Limits, Server

__all__ = ["Address", "BadRequest", "Limits", "Request", "Response", "Server", "parse_address"]
