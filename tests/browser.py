"""A page in headless Chromium, driven through its debugging protocol.

``tools.picture`` opens pages too, but with a virtual clock, for which workers do not
count: what trains in a worker needs real time.
"""

import base64
import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from websocket import WebSocket, create_connection

from tools.picture import CHROMIUM

OPTIONS = "--hide-scrollbars --remote-debugging-port=0 --remote-allow-origins=*"
KEYS = {"Tab": 9, "Enter": 13, " ": 32, "ArrowLeft": 37, "ArrowRight": 39}


class Tab:
    """One page, what it complained about, and what can be done with it."""

    def __init__(self, socket: WebSocket):
        self.socket, self.number, self.complaints = socket, 0, []
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters) -> dict:
        """Call a method of the protocol and return its result."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        self.socket.send(json.dumps(message))
        while True:
            answer = json.loads(self.socket.recv())
            self._listen(answer)
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]

    def _listen(self, event: Mapping) -> None:
        noise = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown")
        if event.get("method") in (*noise, "Log.entryAdded"):
            self.complaints.append(event["params"])

    def open(self, address: str) -> None:
        """Go to an address, anew, and wait until the page is loaded."""
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=address)
        self.wait(
            "document.readyState === 'complete' && location.href !== 'about:blank'"
        )

    def run(self, script: str):
        """Return the value of an expression."""
        answer = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, condition: str, seconds: float = 60) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while not self.run(f"Boolean({condition})"):
            assert time.monotonic() < end, f"not within {seconds} s: {condition}"
            time.sleep(0.05)

    def press(self, key: str) -> None:
        """Press and release a key."""
        text = {"Enter": "\r", " ": " "}.get(key, "")
        what = {"key": key, "code": "Space" if key == " " else key}
        what["windowsVirtualKeyCode"] = KEYS[key]
        down = "keyDown" if text else "rawKeyDown"
        self.call("Input.dispatchKeyEvent", type=down, text=text, **what)
        self.call("Input.dispatchKeyEvent", type="keyUp", **what)

    def resize(self, width: int, height: int) -> None:
        """Give the page the size of a screen."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            **{"width": width, "height": height, "deviceScaleFactor": 1},
            mobile=False,
        )

    def prefer(self, **features: str) -> None:
        """Have preferences: ``prefers_color_scheme="dark"``, for example."""
        listed = [
            {"name": name.replace("_", "-"), "value": value}
            for name, value in features.items()
        ]
        self.call("Emulation.setEmulatedMedia", features=listed)

    def photograph(self, path: Path) -> None:
        """Save a picture of the whole page."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "scale": 1}
        clip |= {"width": size["width"], "height": size["height"]}
        shot = self.call(
            "Page.captureScreenshot", clip=clip, captureBeyondViewport=True
        )
        path.write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def tab(*options: str) -> Iterator[Tab]:
    """Start Chromium and give its page; end it afterwards."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [*CHROMIUM, *OPTIONS.split(), f"--user-data-dir={profile}"]
        process = subprocess.Popen(
            [*command, *options, "about:blank"], stderr=subprocess.DEVNULL
        )
        try:
            port = _port(Path(profile) / "DevToolsActivePort", process)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
                pages = [page for page in json.load(answer) if page["type"] == "page"]
            socket = create_connection(pages[0]["webSocketDebuggerUrl"], timeout=120)
            yield Tab(socket)
            socket.close()
        finally:
            process.terminate()
            process.wait(30)


def _port(file: Path, process: subprocess.Popen) -> int:
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        if file.exists() and (lines := file.read_text().splitlines()):
            return int(lines[0])
        time.sleep(0.05)
    raise RuntimeError("Chromium did not start")
