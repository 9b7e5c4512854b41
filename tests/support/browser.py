"""A headless Chromium without a network, driven over its debugging pipe: no port, no library.

Pages are local files. What a page asks for, logs and throws is kept for the test to look at.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
LIMIT_S = 90.0
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # tests may run as root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--remote-debugging-pipe",
)

# The browser reads its orders from descriptor 3 and answers on 4, whatever the pipes were.
LAUNCH = """
import os, sys
ends = [os.dup(int(end)) for end in sys.argv[1:3]]
for end, place in zip(ends, (3, 4)):
    os.dup2(end, place)
    os.set_inheritable(place, True)
os.execvp(sys.argv[3], sys.argv[3:])
"""


def find_browser() -> str | None:
    """Return the path of a Chromium, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def _without_network() -> list[str]:
    """Return what a command starts with to have no network at all, where this system can."""
    words = ["unshare", "--map-root-user", "--net"]
    if shutil.which("unshare") is None:
        return []
    able = subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0
    return words if able else []


@dataclass
class Browser:
    """One page of a browser, and all that it said."""

    process: subprocess.Popen[bytes]
    to_browser: int
    from_browser: int
    session: str = ""
    count: int = 0
    rest: bytes = b""
    events: list[dict[str, Any]] = field(default_factory=list)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the DevTools protocol; return its result."""
        self.count += 1
        message: dict[str, Any] = {"id": self.count, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to_browser, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + LIMIT_S
        while True:
            answer = self._read(deadline)
            if answer.get("id") == self.count:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def _read(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self.rest:
            left = deadline - time.monotonic()
            ready = left > 0 and select.select([self.from_browser], [], [], left)[0]
            part = os.read(self.from_browser, 1 << 20) if ready else b""
            assert part, "the browser says nothing more"
            self.rest += part
        line, _, self.rest = self.rest.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message

    def open(self, page: Path, width: int = 1280, dark: bool = False) -> None:
        """Open a page and wait until its charts are drawn."""
        phone = width < 600
        height = 844 if phone else 900
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=phone,
        )  # fmt: skip
        self.prefer(dark=dark)
        self.call("Page.navigate", url=page.resolve().as_uri())
        deadline = time.monotonic() + LIMIT_S
        while self.evaluate("document.documentElement?.dataset.drawn") != "yes":
            assert time.monotonic() < deadline, "the charts were never drawn"
            time.sleep(0.1)

    def prefer(self, dark: bool) -> None:
        """Be a system whose user wants dark pages, or light ones."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression in the page."""
        told = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def screenshot(self, path: Path) -> None:
        """Save the whole page as a picture."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def print_pdf(self) -> bytes:
        """Return the page as it is printed."""
        return base64.b64decode(self.call("Page.printToPDF")["data"])

    @property
    def requests(self) -> list[str]:
        """Return every address that a page asked for, itself included."""
        asked = [said for said in self.events if said["method"] == "Network.requestWillBeSent"]
        return [said["params"]["request"]["url"] for said in asked]

    @property
    def complaints(self) -> list[str]:
        """Return errors and warnings of the console, exceptions and broken policies."""
        methods = {"Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"}
        return [json.dumps(said["params"]) for said in self.events if said["method"] in methods]


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """Start a browser whose profile lies in `folder`; end it afterwards."""
    path = find_browser()
    assert path
    their_in, to_browser = os.pipe()
    from_browser, their_out = os.pipe()
    command = [*_without_network(), path, *FLAGS, f"--user-data-dir={folder}", "about:blank"]
    process = subprocess.Popen(
        [sys.executable, "-c", LAUNCH, str(their_in), str(their_out), *command],
        pass_fds=(their_in, their_out),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(folder)},
    )
    os.close(their_in)
    os.close(their_out)
    browser = Browser(process, to_browser, from_browser)
    try:
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        told = browser.call("Target.attachToTarget", targetId=target, flatten=True)
        browser.session = told["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            browser.call(f"{domain}.enable")
        yield browser
    finally:
        process.terminate()
        process.wait(timeout=20)
        os.close(to_browser)
        os.close(from_browser)
