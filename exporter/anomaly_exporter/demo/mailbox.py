"""An SMTP server that keeps what it is sent (the extra ``demo``: aiosmtpd)."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, Self

from .processes import StackError


@dataclass(frozen=True)
class Mail:
    """One received mail; ``received_at`` is wall time."""

    received_at: float
    sender: str
    recipients: tuple[str, ...]
    message: EmailMessage

    @property
    def subject(self) -> str:
        return str(self.message["Subject"] or "")

    def body(self, kind: str) -> str:
        """The text of the part ``kind`` (plain or html); empty when the mail has none."""
        part = self.message.get_body((kind,))
        return str(part.get_content()) if isinstance(part, EmailMessage) else ""


class Mailbox:
    """Receives mail on a loopback port until :meth:`stop`.

    Raises:
        StackError: (``start``) aiosmtpd is not installed.
    """

    def __init__(self) -> None:
        self.port = 0
        self._mails: list[Mail] = []
        self._changed = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> Self:
        try:
            from aiosmtpd.smtp import SMTP  # noqa: PLC0415  an optional extra
        except ImportError as error:
            raise StackError("the mailbox needs aiosmtpd: pip install 'anomaly-exporter[demo]'") from error
        # aiosmtpd tells every command of every session.
        logging.getLogger("mail.log").setLevel(logging.WARNING)
        started = threading.Event()

        def protocol() -> Any:
            return SMTP(self, hostname="localhost", loop=self._loop, enable_SMTPUTF8=True)

        def serve() -> None:
            loop = asyncio.new_event_loop()
            self._loop = loop
            asyncio.set_event_loop(loop)
            server = loop.run_until_complete(loop.create_server(protocol, "127.0.0.1", 0))
            self.port = server.sockets[0].getsockname()[1]
            started.set()
            try:
                loop.run_forever()
            finally:
                server.close()
                for task in asyncio.all_tasks(loop):
                    task.cancel()
                loop.run_until_complete(asyncio.sleep(0))
                loop.run_until_complete(loop.shutdown_asyncgens())
                loop.close()

        self._thread = threading.Thread(target=serve, name="mailbox", daemon=True)
        self._thread.start()
        started.wait()
        return self

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802  aiosmtpd's name
        message = message_from_bytes(envelope.content, policy=policy.default)
        mail = Mail(time.time(), str(envelope.mail_from), tuple(envelope.rcpt_tos), message)
        with self._changed:
            self._mails.append(mail)
            self._changed.notify_all()
        return "250 OK"

    @property
    def mails(self) -> tuple[Mail, ...]:
        """All mails so far, oldest first."""
        with self._changed:
            return tuple(self._mails)

    def wait(self, wanted: Callable[[Mail], bool], timeout: float) -> Mail | None:
        """The first mail that is wanted, waiting up to ``timeout`` wall seconds; None when none came."""
        with self._changed:
            self._changed.wait_for(lambda: any(wanted(m) for m in self._mails), timeout)
            return next((m for m in self._mails if wanted(m)), None)

    def stop(self) -> None:
        loop, thread = self._loop, self._thread
        if loop is not None and thread is not None and thread.is_alive():
            loop.call_soon_threadsafe(loop.stop)
            thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
