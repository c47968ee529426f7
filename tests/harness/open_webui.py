"""Open WebUI's server, the real one, with what its slim image has: no models of its own.

`uv pip compile --python-version 3.11` of the wheel's own requirements-slim.txt, and the wheel, are
open-webui-requirements.txt.
"""

import socket
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import locked_environment

from dev import progress
from dev.processes import Daemon

REQUIREMENTS = Path(__file__).parents[1] / "open-webui-requirements.txt"
LOOPBACK = "127.0.0.1"
START_SECONDS = 180.0  # 16 to 28 s on an idle machine: imports, then a database is made
ANSWER_SECONDS = 60.0
NAME, EMAIL, PASSWORD = "Ada", "ada@example.com", "Correct-horse-7"
# Nothing from the network but what the test serves, and no requests but the test's own: titles,
# tags and follow-up questions are asked of the models as well.
QUIET = {
    "USE_SLIM_DOCKER": "true",
    "OFFLINE_MODE": "true",
    "ENABLE_VERSION_UPDATE_CHECK": "false",
    "ENABLE_TITLE_GENERATION": "false",
    "ENABLE_TAGS_GENERATION": "false",
    "ENABLE_FOLLOW_UP_GENERATION": "false",
    "WEBUI_SECRET_KEY": "of-a-test",
}


@contextmanager
def running(folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """Its address, for as long as the context lasts; its log stays in `folder`."""
    command = locked_environment.prepare("open-webui", REQUIREMENTS) / "open-webui"
    with socket.create_server((LOOPBACK, 0)) as free:
        port = free.getsockname()[1]
    own = {"HOME": str(folder), "DATA_DIR": str(folder / "data")}
    server = Daemon("open-webui", folder)
    server.start(
        [command, "serve", "--host", LOOPBACK, "--port", str(port)],
        {**QUIET, **own, **environment},
    )
    url = f"http://{LOOPBACK}:{port}"
    try:
        _wait(server, url)
        yield url
    finally:
        server.stop()


@contextmanager
def administrator(url: str) -> Iterator[httpx.Client]:
    """The first who signs up, with their session; the password is as above."""
    with httpx.Client(base_url=url, timeout=ANSWER_SECONDS) as client:
        asked = {"name": NAME, "email": EMAIL, "password": PASSWORD}
        answer = client.post("/api/v1/auths/signup", json=asked).raise_for_status()
        client.headers["authorization"] = f"Bearer {answer.json()['token']}"
        yield client


def _wait(server: Daemon, url: str) -> None:
    def alive() -> bool:
        server.check()
        try:
            urllib.request.urlopen(f"{url}/health", timeout=5)
        except (urllib.error.URLError, OSError):
            return False
        return True

    progress.wait_for(server.name, alive, seconds=START_SECONDS)
