"""A headless Chromium, driven over its debugging protocol.

The protocol is JSON over two pipes (`--remote-debugging-pipe`): no port, no web socket, no driver and no library.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
SWITCHES = (
    "--headless=new",
    "--no-sandbox",  # root may not have one, and the only page is ours
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--remote-debugging-pipe",
)
PATIENCE = 30.0
"""The seconds to wait for anything of the page before a test fails."""
KEYS = {"Enter": 13, "Escape": 27, "Tab": 9, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}


class PageError(AssertionError):
    """The page, or the browser, said that something is wrong."""


def program() -> str:
    """Return the path of the browser. Raises FileNotFoundError if there is none."""
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        raise FileNotFoundError("there is no Chromium: install Debian's package chromium, or put it on the PATH")
    return found


class Browser:
    """One page of a browser, and all that it has told."""

    def __init__(self, reading: int, writing: int) -> None:
        self._reading, self._writing = reading, writing
        self._rest = b""
        self._number = 0
        self._session: str | None = None
        self.events: list[tuple[str, dict[str, Any]]] = []
        """The events since the page was opened: method and parameters."""

    def open_page(self) -> None:
        """Attach to a new page, and listen to its console, its requests and its log."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol. Raises PageError with what the browser answers if it fails."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session is not None and not method.startswith(("Target.", "Browser.")):
            message["sessionId"] = self._session
        os.write(self._writing, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise PageError(f"{method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = os.read(self._reading, 1 << 16)
            if not part:
                raise PageError("the browser is gone")
            self._rest += part
        text, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        if "method" in message:
            self.events.append((message["method"], message["params"]))
        return message

    def go(self, path: Path) -> None:
        """Load a file, and wait until its script has run."""
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        self.wait("document.readyState === 'complete' && location.protocol === 'file:'")

    def run(self, script: str) -> Any:
        """Return the JSON value of an expression, which may be a promise. Raises PageError if it throws."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise PageError(details.get("exception", {}).get("description", details["text"]))
        return answer["result"].get("value")

    def wait(self, condition: str) -> None:
        """Wait until an expression is true. Raises PageError if it never is."""
        end = time.monotonic() + PATIENCE
        while not self.run(condition):
            if time.monotonic() > end:
                raise PageError(f"this is never true: {condition}")
            time.sleep(0.02)

    def resize(self, width: int, height: int) -> None:
        """Give the window a size, in pixels of the page."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def media(self, *, kind: str = "", scheme: str = "light") -> None:
        """Set the medium (`print`) and the colour scheme that the system prefers."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=kind, features=features)

    def press(self, key: str) -> None:
        """Press and release a key."""
        text = "\r" if key == "Enter" else ""
        code = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS[key]}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **code)
        self.call("Input.dispatchKeyEvent", type="keyUp", **code)

    def type(self, text: str) -> None:
        """Type a text into what has the focus."""
        self.call("Input.insertText", text=text)

    def text(self, selector: str) -> str:
        """Return the text of the first element that a selector finds, as it is rendered."""
        return str(self.run(f"document.querySelector({json.dumps(selector)}).innerText"))

    def texts(self, selector: str) -> list[str]:
        """Return the texts of all elements that a selector finds, rendered or not."""
        found: list[str] = self.run(f"Array.from({_all(selector)}, (each) => each.textContent)")
        return found

    def count(self, selector: str) -> int:
        """Return the number of elements that a selector finds."""
        return int(self.run(f"{_all(selector)}.length"))

    def box(self, selector: str) -> tuple[float, float, float, float]:
        """Return where an element is in the window: left, top, width, height."""
        box = self.run(f"document.querySelector({json.dumps(selector)}).getBoundingClientRect().toJSON()")
        return box["x"], box["y"], box["width"], box["height"]

    def scroll_to(self, selector: str) -> None:
        """Scroll the page until an element is in the middle of the window."""
        self.run(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{ block: 'center' }})")

    def middle(self, selector: str) -> tuple[float, float]:
        """Return the middle of an element in the window."""
        left, top, width, height = self.box(selector)
        return left + width / 2, top + height / 2

    def choose(self, selector: str, value: str) -> None:
        """Choose an option of a list."""
        change = f"Object.assign(list, {{ value: {json.dumps(value)} }}).dispatchEvent(new Event('change'))"
        self.run(f"((list) => {change})(document.querySelector({json.dumps(selector)}))")

    def focus(self, selector: str) -> None:
        """Give an element the focus."""
        self.run(f"document.querySelector({json.dumps(selector)}).focus()")

    def hover(self, x: float, y: float) -> None:
        """Move the pointer."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, selector: str) -> None:
        """Click on the middle of an element with the pointer. The page is scrolled to it first."""
        self.scroll_to(selector)
        x, y = self.middle(selector)
        self.hover(x, y)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def screenshot(self) -> bytes:
        """Return what the window shows, as a PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def pdf(self) -> bytes:
        """Return the page as it is printed."""
        return base64.b64decode(self.call("Page.printToPDF")["data"])

    def requests(self) -> list[str]:
        """Return the addresses that the page has asked for, but for itself and for images that stand in it."""
        sent = [params for method, params in self.events if method == "Network.requestWillBeSent"]
        addresses = [params["request"]["url"] for params in sent if params.get("type") != "Document"]
        return [address for address in addresses if not address.startswith("data:")]

    def complaints(self) -> list[str]:
        """Return what the console and the log have said: exceptions, errors, and violations of the policy."""
        return [json.dumps(params) for method, params in self.events if is_complaint(method, params)]


def _all(selector: str) -> str:
    return f"document.querySelectorAll({json.dumps(selector)})"


def is_complaint(method: str, params: dict[str, Any]) -> bool:
    """Return True for an event that says that something is wrong."""
    console = method == "Runtime.consoleAPICalled" and params["type"] in {"error", "warning", "assert"}
    log = method == "Log.entryAdded" and params["entry"]["level"] in {"error", "warning"}
    return console or log or method == "Runtime.exceptionThrown"


@contextmanager
def browser() -> Iterator[Browser]:
    """Start a browser with an empty profile, open a page, and end the browser."""
    to_browser, writing = os.pipe()
    reading, from_browser = os.pipe()
    with TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        pid = os.posix_spawn(
            program(),
            [program(), *SWITCHES, f"--user-data-dir={profile}", "about:blank"],
            os.environ | {"HOME": profile},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, to_browser, 3),
                (os.POSIX_SPAWN_DUP2, from_browser, 4),
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
            ],
        )
        os.close(to_browser)
        os.close(from_browser)
        try:
            opened = Browser(reading, writing)
            opened.open_page()
            yield opened
        finally:
            _end(pid, lambda: opened.call("Browser.close"))
            os.close(reading)
            os.close(writing)


def _end(pid: int, close: Callable[[], object]) -> None:
    """Ask the browser to end, and wait for it. If it does not answer, kill it."""
    try:
        close()
    except (PageError, OSError, UnboundLocalError):
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
