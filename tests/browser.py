"""A real browser for tests: headless Chromium, driven over its DevTools pipe. Needs nothing but the browser itself.

``find_chromium()`` says where it is; ``with Browser(path) as browser: page = browser.open(url)``. Clicks and keys are
real input events at the place where a person would click: what is covered or off screen is found out.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final

FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--remote-debugging-pipe",
)

_KEYS: Final = {
    "Tab": (9, ""), "Enter": (13, "\r"), "Escape": (27, ""), "ArrowLeft": (37, ""), "ArrowRight": (39, ""),
}  # fmt: skip


def find_chromium() -> Path | None:
    """The browser: ``$CHROMIUM``, else the first of the usual names on the path."""
    for name in (os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name) if name else None
        if found:
            return Path(found)
    return None


class BrowserError(Exception):
    """The browser refused a command, a script in the page failed, or something did not come about in time."""


class Browser:
    """One Chromium process with a profile of its own; gone, with the profile, at the end of the ``with``."""

    def __init__(self, path: Path, *, timeout_s: float = 30.0) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._ids = itertools.count(1)
        self._buffer = b""
        self._pages: dict[str, Page] = {}

    def __enter__(self) -> Browser:
        self._profile = tempfile.mkdtemp(prefix="chromium-")
        read_commands, self._write = os.pipe()
        self._read, write_answers = os.pipe()

        def plug() -> None:  # Chromium reads commands from 3 and answers on 4
            first, second = os.dup(read_commands), os.dup(write_answers)
            os.dup2(first, 3)
            os.dup2(second, 4)

        self._process = subprocess.Popen(
            [str(self._path), *FLAGS, f"--user-data-dir={self._profile}", "about:blank"],
            preexec_fn=plug,
            close_fds=False,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": self._profile},
        )
        os.close(read_commands)
        os.close(write_answers)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._write)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._read)
        shutil.rmtree(self._profile, ignore_errors=True)

    def open(self, url: str, *, width: int = 1280, height: int = 900, scale: float = 1.0, dark: bool = False) -> Page:
        """A new tab at ``url``, loaded; tabs share nothing that a page may remember."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", {"url": "about:blank", "browserContextId": context})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        page = Page(self, session, target)
        self._pages[session] = page
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        page.resize(width, height, scale)
        page.media(dark=dark)
        page.goto(url)
        return page

    def call(self, method: str, parameters: dict[str, Any] | None = None, session: str | None = None) -> dict[str, Any]:
        """Send one command and wait for its answer; events that come in between are handed to their pages."""
        number = next(self._ids)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters or {}}
        if session:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + self._timeout_s
        while True:
            answer = self._next(deadline, method)
            if answer.get("id") == number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error'].get('message')}")
                result: dict[str, Any] = answer["result"]
                return result

    def _next(self, deadline: float, method: str) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))
            chunk = os.read(self._read, 1 << 20) if ready else b""
            if not chunk:
                raise BrowserError(f"{method}: {'the browser ended' if ready else 'no answer in time'}")
            self._buffer += chunk
        raw, self._buffer = self._buffer.split(b"\0", 1)
        message: dict[str, Any] = json.loads(raw)
        page = self._pages.get(message.get("sessionId", ""))
        if page is not None and "method" in message:
            page.note(message["method"], message["params"])
        return message


class Page:
    """One tab."""

    def __init__(self, browser: Browser, session: str, target: str) -> None:
        self._browser = browser
        self._session = session
        self._target = target
        self.problems: list[str] = []
        """Errors and warnings of the console, uncaught exceptions, refusals by the page's policy."""
        self.requests: list[str] = []
        """Every URL that the page asked for, ``data:`` left out."""
        self._loaded = False

    def note(self, event: str, details: dict[str, Any]) -> None:
        """An event of this tab."""
        if event == "Page.loadEventFired":
            self._loaded = True
        elif event == "Runtime.exceptionThrown":
            thrown = details["exceptionDetails"]
            self.problems.append(thrown.get("exception", {}).get("description") or thrown["text"])
        elif event == "Runtime.consoleAPICalled" and details["type"] in ("error", "warning", "assert"):
            self.problems.append(" ".join(str(a.get("value", a.get("description"))) for a in details["args"]))
        elif event == "Log.entryAdded" and details["entry"]["level"] in ("error", "warning"):
            self.problems.append(details["entry"]["text"])
        elif event == "Network.requestWillBeSent" and not details["request"]["url"].startswith("data:"):
            self.requests.append(details["request"]["url"])

    def call(self, method: str, parameters: dict[str, Any] | None = None) -> dict[str, Any]:
        """One DevTools command to this tab."""
        return self._browser.call(method, parameters, self._session)

    def goto(self, url: str) -> None:
        """Load a page."""
        self._loaded = False
        answer = self.call("Page.navigate", {"url": url})
        if "errorText" in answer:
            raise BrowserError(f"{url}: {answer['errorText']}")
        deadline = time.monotonic() + 30
        while not self._loaded:
            if time.monotonic() > deadline:
                raise BrowserError(f"{url}: not loaded in time")
            self.evaluate("1")
        self.evaluate("document.fonts.ready.then(() => true)")
        self.settle()

    def resize(self, width: int, height: int, scale: float = 1.0) -> None:
        """Size of the window in CSS pixels, and device pixels for each."""
        mobile = width < 600
        self.call(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": mobile},
        )

    def media(self, *, dark: bool = False, medium: str = "screen") -> None:
        """What the system of the reader prefers, and whether it is paper."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", {"media": medium, "features": [scheme]})

    def evaluate(self, expression: str) -> Any:
        """Value of a JavaScript expression; a promise is waited for."""
        answer = self.call(
            "Runtime.evaluate",
            {"expression": expression, "awaitPromise": True, "returnByValue": True, "userGesture": True},
        )
        if "exceptionDetails" in answer:
            thrown = answer["exceptionDetails"]
            raise BrowserError(thrown.get("exception", {}).get("description") or thrown["text"])
        return answer["result"].get("value")

    def settle(self) -> None:
        """Wait until the browser has drawn twice: what a click set off is then on the screen."""
        self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")

    def wait_for(self, expression: str, timeout_s: float = 10.0) -> None:
        """Wait until an expression is true."""
        deadline = time.monotonic() + timeout_s
        while not self.evaluate(f"Boolean({expression})"):
            if time.monotonic() > deadline:
                raise BrowserError(f"never came true: {expression}")
            self.settle()

    def close(self) -> None:
        """Close the tab."""
        self._browser.call("Target.closeTarget", {"targetId": self._target})

    def click(self, selector: str) -> None:
        """Scroll to an element and click in its middle. Raises if something else lies there."""
        x, y = self._middle(selector)
        self._press(x, y, 1)
        self.settle()

    def double_click(self, selector: str) -> None:
        """The same, twice in quick succession."""
        x, y = self._middle(selector)
        self._press(x, y, 1)
        self._press(x, y, 2)
        self.settle()

    def choose(self, selector: str, value: str) -> None:
        """Choose an option of a drop-down list, as the browser's own list does."""
        quoted = json.dumps(selector)
        self._middle(selector)
        self.evaluate(
            f"""(() => {{
              const select = document.querySelector({quoted});
              select.focus();
              if (![...select.options].some(o => o.value === {json.dumps(value)})) throw new Error("no such option");
              select.value = {json.dumps(value)};
              for (const name of ["input", "change"]) select.dispatchEvent(new Event(name, {{bubbles: true}}));
            }})()"""
        )
        self.settle()

    def _press(self, x: float, y: float, clicks: int) -> None:
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            button = "none" if kind == "mouseMoved" else "left"
            event = {"type": kind, "x": x, "y": y, "button": button, "clickCount": clicks}
            self.call("Input.dispatchMouseEvent", event)

    def drag(self, selector: str, start: float, end: float) -> None:
        """Drag horizontally across an element, from one share of its width to another."""
        self._middle(selector)
        left, top, width, height = self.evaluate(
            "(r => [r.left, r.top, r.width, r.height])"
            f"(document.querySelector({json.dumps(selector)}).getBoundingClientRect())"
        )
        y = top + height / 2
        steps = [start, (2 * start + end) / 3, (start + 2 * end) / 3, end]
        self.call("Input.dispatchMouseEvent", {"type": "mouseMoved", "x": left + width * start, "y": y})
        press = {"x": left + width * start, "y": y, "button": "left", "buttons": 1, "clickCount": 1}
        self.call("Input.dispatchMouseEvent", {"type": "mousePressed", **press})
        for share in steps:
            move = {"x": left + width * share, "y": y, "button": "left", "buttons": 1}
            self.call("Input.dispatchMouseEvent", {"type": "mouseMoved", **move})
        release = {"x": left + width * end, "y": y, "button": "left", "clickCount": 1}
        self.call("Input.dispatchMouseEvent", {"type": "mouseReleased", **release})
        self.settle()

    def key(self, name: str) -> None:
        """Press and release a key."""
        code, text = _KEYS.get(name, (ord(name[0].upper()), name))
        event = {"key": name, "windowsVirtualKeyCode": code, **({"text": text} if text else {})}
        self.call("Input.dispatchKeyEvent", {"type": "keyDown", **event})
        self.call("Input.dispatchKeyEvent", {"type": "keyUp", **event})
        self.settle()

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.call("Input.insertText", {"text": text})
        self.settle()

    def text(self, selector: str) -> str:
        """Text of an element as it is shown."""
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))

    def count(self, selector: str) -> int:
        """How many elements there are."""
        return int(self.evaluate(f"document.querySelectorAll({json.dumps(selector)}).length"))

    def screenshot(self, path: Path, *, selector: str | None = None, whole: bool = False) -> Path:
        """PNG of what is on the screen, of the whole page, or of one element."""
        parameters: dict[str, Any] = {"format": "png"}
        if whole:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            parameters |= {"captureBeyondViewport": True, "clip": {**size, "scale": 1}}
        elif selector is not None:
            self._middle(selector)
            box = self.evaluate(
                "(r => ({x: r.left + scrollX, y: r.top + scrollY, width: r.width, height: r.height, scale: 1}))"
                f"(document.querySelector({json.dumps(selector)}).getBoundingClientRect())"
            )
            parameters |= {"captureBeyondViewport": True, "clip": box}
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", parameters)["data"]))
        return path

    def pdf(self, path: Path) -> Path:
        """The page as it is printed on A4."""
        self.call("Emulation.setEmulatedMedia", {"media": ""})
        parameters = {"printBackground": True, "preferCSSPageSize": True, "paperWidth": 8.27, "paperHeight": 11.69}
        path.write_bytes(base64.b64decode(self.call("Page.printToPDF", parameters)["data"]))
        return path

    def _middle(self, selector: str) -> tuple[float, float]:
        quoted = json.dumps(selector)
        x, y, hit = self.evaluate(
            f"""(() => {{
              const element = document.querySelector({quoted});
              if (!element) throw new Error("no element " + {quoted});
              element.scrollIntoView({{block: "center", inline: "nearest", behavior: "instant"}});
              const r = element.getBoundingClientRect();
              const x = r.left + r.width / 2, y = r.top + r.height / 2;
              const top = document.elementFromPoint(x, y);
              return [x, y, top !== null && (element.contains(top) || top.contains(element))];
            }})()"""
        )
        if not hit:
            raise BrowserError(f"{selector}: something else lies over it")
        return x, y


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser that must be there."""
    path = find_chromium()
    if path is None:
        raise BrowserError("no Chromium found: install the package `chromium`, or set CHROMIUM to its path")
    with Browser(path) as browser:
        yield browser
