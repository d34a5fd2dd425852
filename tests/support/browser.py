"""A real browser: Chromium without a window, driven by its DevTools protocol."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import websocket

from support.waiting import wait_for

PROGRAMS: Final = ("chromium", "chromium-browser", "google-chrome")
DESKTOP: Final = (1100, 900)
PHONE: Final = (390, 844)


class Browser:
    """One tab. Clicks and keys are those of a person: they go through layout, focus and the page's own forms."""

    def __init__(self, socket_url: str) -> None:
        self._socket = websocket.create_connection(socket_url, timeout=20, suppress_origin=True)
        self._number = 0
        self.complaints: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Security"):
            self.send(f"{domain}.enable")
        self.resize(DESKTOP)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command; its result. Complaints of the page (errors, blocked content) are kept meanwhile."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("method") == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
                self.complaints.append(message["params"]["entry"]["text"])
            if message.get("id") == self._number:
                assert "error" not in message, (method, parameters, message["error"])
                result: dict[str, Any] = message["result"]
                return result

    def close(self) -> None:
        self._socket.close()

    def resize(self, size: tuple[int, int], *, phone: bool = False) -> None:
        """Width and height in CSS pixels; a phone has a finer screen and fingers."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=size[0],
            height=size[1],
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )

    def open(self, url: str, referrer: str = "") -> None:
        """Go to ``url`` as by a link on the page ``referrer``, or by hand."""
        more = {"referrer": referrer, "transitionType": "link"} if referrer else {}
        self.send("Page.navigate", url=url, **more)
        self.settle()

    def settle(self) -> None:
        """Wait until the page is there."""
        wait_for(lambda: self.run("document.readyState") == "complete", 20, "the page", 0.02)

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression on the page."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True)
        return answer["result"].get("value")

    @property
    def text(self) -> str:
        """What can be read on the page."""
        return str(self.run("document.body ? document.body.innerText : ''"))

    @property
    def url(self) -> str:
        return str(self.run("location.href"))

    def click(self, selector: str) -> None:
        """Click into the middle of the first element that ``selector`` finds and that can be seen."""
        place = self.run(
            f"(()=>{{const e=[...document.querySelectorAll({json.dumps(selector)})].find(e=>e.offsetParent);"
            "if(!e)return null;e.scrollIntoView({block:'center'});const r=e.getClientRects()[0];"
            "return [r.x+r.width/2,r.y+r.height/2]})()"
        )
        assert place, f"nothing to click: {selector}\n{self.text}"
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)

    def go(self, selector: str) -> None:
        """Click on something that leads to another page, and wait for that."""
        self.run("window.before = true")
        self.click(selector)
        self._left()

    def _left(self) -> None:
        wait_for(lambda: self.run("!window.before && document.readyState") == "complete", 20, "the next page", 0.02)

    def write(self, selector: str, text: str) -> None:
        """Click into a field and replace what stands in it."""
        self.click(selector)
        self.run("document.activeElement.select()")
        self.send("Input.insertText", text=text)

    def key(self, key: str, code: int, *, leads_away: bool = False, text: str = "") -> None:
        """Press a key."""
        if leads_away:
            self.run("window.before = true")
        for kind in ("keyDown", "keyUp"):
            typed = {"text": text} if text and kind == "keyDown" else {}
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **typed)
        if leads_away:
            self._left()

    def focused(self) -> str:
        """What has the focus: its name or its text."""
        return str(self.run("document.activeElement.name || document.activeElement.innerText"))

    def overflow(self) -> int:
        """CSS pixels by which the page is wider than the screen."""
        return int(self.run("document.documentElement.scrollWidth - document.documentElement.clientWidth"))

    def picture(self, path: Path) -> None:
        """A screenshot of the whole page."""
        answer = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """A browser with a new profile in ``folder``; the test fails and says what to install where there is none."""
    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    assert program, f"none of {', '.join(PROGRAMS)} is installed: make browser"
    process = subprocess.Popen(
        [
            program,
            "--headless=new",
            "--remote-debugging-port=0",
            f"--user-data-dir={folder}",
            # As root, and in most containers, there are no user namespaces for its sandbox.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-features=Translate,MediaRouter",
            "about:blank",
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        port_file = folder / "DevToolsActivePort"
        wait_for(lambda: port_file.exists() and port_file.read_text().count("\n"), 40, "Chromium to start")
        browser = Browser(_tab(port_file.read_text().splitlines()[0]))
        try:
            yield browser
        finally:
            browser.close()
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _tab(port: str) -> str:
    """The address of the first tab's socket."""
    import urllib.request

    def find() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=5) as answer:
            return next((str(t["webSocketDebuggerUrl"]) for t in json.load(answer) if t["type"] == "page"), "")

    return wait_for(find, 20, "a tab of Chromium")
