"""Debian's Chromium, driven as the W3C says (https://www.w3.org/TR/webdriver2/)."""

import base64
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from dev import packages, progress
from dev.processes import Daemon

LOOPBACK = "127.0.0.1"
START_SECONDS = 30.0
PATIENCE_SECONDS = 30.0  # for a page to have what is looked for, on a busy machine
CALL_SECONDS = 90.0  # above the driver's own time-outs
# What is in the way goes away by itself: a dialog that closes, a list that is drawn anew.
_NOT_YET = ("element click intercepted", "element not interactable", "stale element reference")
_FLAGS = (
    "--headless",
    "--no-sandbox",  # tests run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,800",
)


@dataclass(frozen=True)
class Browser:
    """One window. Elements are named by CSS selectors, and waited for."""

    client: httpx.Client  # of the driver's session

    def open(self, url: str) -> None:
        self._post("url", url=url)

    def click(self, css: str) -> None:
        self._act(css, "click")

    def type(self, css: str, text: str) -> None:
        self._act(css, "value", text=text)

    def run(self, script: str) -> Any:
        """What the body of a function returns, in the page."""
        return self._post("execute/sync", script=script, args=[])

    def errors(self) -> list[str]:
        """What the page has written to the console as an error since the last call."""
        entries = self._post("se/log", type="browser")
        return [one["message"] for one in entries if one["level"] == "SEVERE"]

    def screenshot(self, path: Path) -> None:
        answer = self.client.get("screenshot").raise_for_status()
        path.write_bytes(base64.b64decode(answer.json()["value"]))

    def _act(self, css: str, what: str, **body: Any) -> None:
        def done() -> bool:
            found = self._post("element", using="css selector", value=css)
            (element,) = found.values()
            answer = self.client.post(f"element/{element}/{what}", json=body)
            return answer.is_success or _not_yet(answer)

        progress.wait_for(f"{what} at {css}", done, seconds=PATIENCE_SECONDS)

    def _post(self, path: str, **body: Any) -> Any:
        answer = self.client.post(path, json=body)
        assert answer.is_success, answer.text
        return answer.json()["value"]


def _not_yet(answer: httpx.Response) -> bool:
    """False; AssertionError where it will never be."""
    assert answer.json()["value"]["error"] in _NOT_YET, answer.text
    return False


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """A window with a new profile, for as long as the context lasts."""
    packages.install(packages.BROWSER)
    with socket.create_server((LOOPBACK, 0)) as free:
        port = free.getsockname()[1]
    driver = Daemon("chromedriver", folder)
    driver.start(["chromedriver", f"--port={port}"])
    try:
        with httpx.Client(base_url=f"http://{LOOPBACK}:{port}", timeout=CALL_SECONDS) as client:
            progress.wait_for("chromedriver", lambda: _ready(client), seconds=START_SECONDS)
            session = _session(client, folder / "profile")
            client.base_url = client.base_url.join(f"/session/{session}/")
            try:
                yield Browser(client)
            finally:
                client.delete(f"http://{LOOPBACK}:{port}/session/{session}")  # or it outlives us
    finally:
        driver.stop()


def _ready(client: httpx.Client) -> bool:
    try:
        return bool(client.get("/status").json()["value"]["ready"])
    except httpx.TransportError:
        return False


def _session(client: httpx.Client, profile: Path) -> str:
    options = {"args": [*_FLAGS, f"--user-data-dir={profile}"]}
    wanted = {
        "goog:chromeOptions": options,
        "goog:loggingPrefs": {"browser": "ALL"},
        "timeouts": {"implicit": int(PATIENCE_SECONDS * 1000)},  # an element may come later
    }
    answer = client.post("/session", json={"capabilities": {"alwaysMatch": wanted}})
    assert answer.is_success, answer.text
    return str(answer.json()["value"]["sessionId"])
