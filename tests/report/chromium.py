"""A headless Chromium driven over a pipe with the standard library: pages, keys, errors, pictures."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
KEYS = {"Enter": ("Enter", 13, "\r"), " ": ("Space", 32, " "), "Tab": ("Tab", 9, "")}
# The browser reads its commands from descriptor 3 and writes its answers to 4.
_LAUNCH = """
import fcntl, os, sys
r, w = (fcntl.fcntl(int(fd), fcntl.F_DUPFD, 10) for fd in sys.argv[1:3])
os.dup2(r, 3); os.dup2(w, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


def find_browser() -> str | None:
    """Return the path of a Chromium, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One browser; `open` gives pages. Everything it leaves lies in `folder`."""

    def __init__(self, program: str, folder: Path, patience: float = 60.0) -> None:
        self.patience = patience
        self.downloads = folder / "downloads"
        self.events: list[dict] = []
        self._next, self._rest = 0, b""
        inner_read, self._write = os.pipe()
        self._read, inner_write = os.pipe()
        flags = ["--headless=new", "--disable-gpu", "--no-first-run", "--remote-debugging-pipe"]
        flags += ["--disable-background-networking", f"--user-data-dir={folder / 'profile'}"]
        if os.geteuid() == 0:
            flags.append("--no-sandbox")  # root has no sandbox to run it in
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCH, str(inner_read), str(inner_write), program, *flags],
            pass_fds=(inner_read, inner_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(inner_read), os.close(inner_write)
        where = {"behavior": "allow", "downloadPath": str(self.downloads)}
        self.call("Browser.setDownloadBehavior", **where)

    def call(self, method: str, session: str | None = None, **params: Any) -> dict:
        """Send one command and wait for its answer; events on the way are kept."""
        self._next += 1
        message = {"id": self._next, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._next:
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def wait(self, method: str, session: str) -> None:
        """Wait for an event of a page."""
        while not any(e["method"] == method and e["sessionId"] == session for e in self.events):
            self.events.append(self._receive())

    def _receive(self) -> dict:
        until = time.monotonic() + self.patience
        while b"\0" not in self._rest:
            if not select.select([self._read], [], [], max(until - time.monotonic(), 0))[0]:
                raise TimeoutError(f"the browser was silent for {self.patience:g} s")
            more = os.read(self._read, 1 << 20)
            if not more:
                raise RuntimeError("the browser went away")
            self._rest += more
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)

    def open(self, path: Path, width: int = 1280, height: int = 1000, address: str = "") -> Page:
        """Open a file and wait until it has loaded."""
        return Page(self, path.as_uri() + address, width, height)

    def close(self) -> None:
        """End the browser."""
        with contextlib.suppress(RuntimeError, OSError):
            self.call("Browser.close")
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._write), os.close(self._read)


class Page:
    """One page of the browser."""

    def __init__(self, browser: Browser, url: str, width: int, height: int) -> None:
        self.browser = browser
        self.target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        attached = browser.call("Target.attachToTarget", targetId=self.target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Runtime", "Page", "Log", "Network"):
            self.call(f"{domain}.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Page.navigate", url=url)
        browser.wait("Page.loadEventFired", self.session)

    def call(self, method: str, **params: Any) -> dict:
        """Send a command to this page."""
        return self.browser.call(method, self.session, **params)

    def js(self, expression: str) -> Any:
        """Evaluate an expression, waiting for a promise, and return its value."""
        found = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in found:
            raise RuntimeError(json.dumps(found["exceptionDetails"])[:600])
        return found["result"].get("value")

    def press(self, key: str) -> None:
        """Press and release a key on what has the focus."""
        code, number, text = KEYS[key]
        shared = {"key": key, "code": code, "windowsVirtualKeyCode": number}
        kind = "keyDown" if text else "rawKeyDown"
        self.call("Input.dispatchKeyEvent", type=kind, text=text, **shared)
        self.call("Input.dispatchKeyEvent", type="keyUp", **shared)

    def seen(self, method: str) -> list[dict]:
        """Return the events of one kind that this page has sent."""
        self.js("0")
        mine = (e for e in self.browser.events if e.get("sessionId") == self.session)
        return [e["params"] for e in mine if e["method"] == method]

    def complaints(self) -> list[dict]:
        """Return errors, log entries, console output and dialogs: all that a sound page lacks."""
        kinds = ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled")
        return [e for kind in (*kinds, "Page.javascriptDialogOpening") for e in self.seen(kind)]

    def picture(self, path: Path, selector: str | None = None) -> None:
        """Write what the page shows, or one element of it, as PNG."""
        options: dict[str, Any] = {"captureBeyondViewport": True}
        if selector:
            box = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
            clip = self.js(f"(r => ({{x: 0, y: r.y + scrollY, height: r.height}}))({box})")
            options["clip"] = {**clip, "width": self.js("innerWidth"), "scale": 1}
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", **options)["data"]))

    def close(self) -> None:
        """Close the page."""
        self.browser.call("Target.closeTarget", targetId=self.target)
