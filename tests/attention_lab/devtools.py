"""A headless Chromium that a test looks at, driven by the DevTools protocol over a pair of pipes.

https://chromedevtools.github.io/devtools-protocol: JSON messages, each ended by a zero byte.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE = 20.0  # seconds, on a busy machine


class Chromium:
    """One tab. requests: the addresses that its pages have asked for; errors: what its console has complained of."""

    def __init__(self, profile: Path) -> None:
        commands, self._commands = os.pipe()
        self._events, events = os.pipe()
        options = (
            f"--headless --no-sandbox --disable-gpu --no-first-run --remote-debugging-pipe --user-data-dir={profile}"
        )
        self._process = subprocess.Popen(
            # Chromium reads commands from 3 and writes events to 4, whichever numbers the pipes have here.
            ["bash", "-c", f"exec {CHROMIUM} --remote-debugging-pipe {options} 3<&{commands} 4>&{events} 2>/dev/null"],
            pass_fds=(commands, events),
        )
        os.close(commands)
        os.close(events)
        os.set_blocking(self._events, False)
        self.requests: list[str] = []
        self.errors: list[str] = []
        self._sent, self._unread, self._session = 0, b"", ""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Network", "Runtime", "Log", "Page"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Ask for something and wait for its answer."""
        self._sent += 1
        session = {"sessionId": self._session} if self._session else {}
        message = {"id": self._sent, "method": method, "params": parameters, **session}
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            for answer in self._read():
                if answer.get("id") == self._sent:
                    assert "error" not in answer, (method, answer)
                    return answer["result"]
            time.sleep(0.01)
        raise TimeoutError(method)

    def _read(self) -> list[dict[str, Any]]:
        try:
            self._unread += os.read(self._events, 1 << 20)
        except BlockingIOError:
            return []
        *whole, self._unread = self._unread.split(b"\0")
        messages = [json.loads(message) for message in whole]
        for message in messages:
            found = message.get("params", {})
            match message.get("method"):
                case "Network.requestWillBeSent":
                    self.requests.append(found["request"]["url"])
                case "Runtime.exceptionThrown":
                    self.errors.append(str(found["exceptionDetails"]))
                case "Log.entryAdded" if found["entry"]["level"] in ("error", "warning"):
                    self.errors.append(found["entry"]["text"])
                case "Runtime.consoleAPICalled" if found["type"] in ("error", "warning"):
                    self.errors.append(str(found["args"]))
        return messages

    def value(self, expression: str) -> Any:
        """What an expression of JavaScript is in the page."""
        return self.send("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def wait(self, expression: str) -> None:
        """Until an expression is true."""
        end = time.monotonic() + PATIENCE
        while not self.value(expression):
            assert time.monotonic() < end, f"never: {expression}; {self.errors}"
            time.sleep(0.05)

    def open(self, address: str) -> None:
        self.send("Page.navigate", url=address)
        self.wait(f"location.href === {json.dumps(address)} && document.readyState === 'complete'")

    def type(self, selector: str, text: str) -> None:
        self.value(f"document.querySelector({json.dumps(selector)}).select()")
        self.send("Input.insertText", text=text)

    def click(self, selector: str) -> None:
        """With the mouse, in the middle of it."""
        element = f"document.querySelector({json.dumps(selector)})"
        self.value(f"{element}.scrollIntoView({{block: 'center'}})")
        box = self.value(f"{element}.getBoundingClientRect().toJSON()")
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def choose(self, selector: str, value: str) -> None:
        """An entry of a picker."""
        element = f"document.querySelector({json.dumps(selector)})"
        self.value(f"{element}.value = {json.dumps(value)}; {element}.dispatchEvent(new Event('change'))")

    def close(self) -> None:
        os.close(self._commands)  # ends it
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._events)


def opened(profile: Path) -> Chromium:
    """A tab to look at a page with. A browser is nothing that the project can install, so without one the test is
    skipped."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine to look at the page with")
    return Chromium(profile)
