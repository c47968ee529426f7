"""A gateway process in front of stand-in engine processes, and clients, good ones and bad."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import invariants
from gateway_process import GatewayProcess

from dev import progress

MODEL = "m"
KEY = "sk-berth-good"
CHAT = "/v1/chat/completions"
AUTHORIZED = {"authorization": f"Bearer {KEY}"}
START_SECONDS = 30.0
PATIENCE_SECONDS = 30.0  # for what is not under test


@dataclass
class EngineProcess:
    """`knobs` are those of `standins.engine`, without STANDIN_ in front."""

    directory: Path
    name: str
    knobs: Mapping[str, str]
    flags: Sequence[str] = ()
    port: int = 0
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> "EngineProcess":
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        place = ("--model", MODEL, "--host", "127.0.0.1", "--port", str(self.port))
        knobs = {f"STANDIN_{name}": value for name, value in self.knobs.items()}
        with (self.directory / f"{self.name}.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "standins.engine", *place, *self.flags],
                env={"PATH": os.environ["PATH"], "PYTHONPATH": ":".join(sys.path)} | knobs,
                stdout=log,
                stderr=log,
            )
        progress.wait_for(self.name, self._listens, seconds=START_SECONDS)
        return self

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def running(self) -> int:
        """Requests that it computes."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=PATIENCE_SECONDS) as answer:
            lines = answer.read().decode().splitlines()
        line = next(one for one in lines if one.startswith("vllm:num_requests_running{"))
        return int(float(line.rpartition(" ")[2]))

    def kill(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def _listens(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0


@dataclass
class GatewaySite:
    gateway: GatewayProcess
    engines: list[EngineProcess]
    expected_alarms: list[str] = field(default_factory=list)  # patterns of log lines

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.gateway.port}"

    def log(self) -> str:
        return self.gateway.log.read_text()

    def failures(self, reason: str) -> float:
        """Tries at engines that ended so."""
        return self.gateway.metric("berth_gateway_upstream_failures_total", reason=reason) or 0

    def in_flight(self) -> float:
        return self.gateway.metric("berth_gateway_requests_in_flight") or 0

    async def connect(self, *, receive_bytes: int | None = None) -> "Wire":
        """A connection without any client's library; `receive_bytes` of kernel buffer."""
        client = socket.socket()
        if receive_bytes is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", self.gateway.port))
        return Wire(client)


@contextmanager
def gateway_site(
    folder: Path,
    *knobs: Mapping[str, str],
    flags: Sequence[str] = (),
    keys: Sequence[str] = (KEY,),
    arguments: Sequence[str] = (),
) -> Iterator[GatewaySite]:
    """One engine for each of `knobs`; afterwards nothing in the log must sound an alarm."""
    with ExitStack() as running:
        engines = []
        for number, one in enumerate(knobs):
            engines.append(EngineProcess(folder, f"engine-{number}", one, flags))
            running.callback(engines[-1].kill)
            engines[-1].start()
        gateway = GatewayProcess(folder, (*_files(folder, engines, keys), *arguments))
        running.callback(gateway.kill)
        gateway.start()
        site = GatewaySite(gateway, engines)
        yield site
        assert invariants.alarms(site.log(), site.expected_alarms) == []


def _files(folder: Path, engines: Sequence[EngineProcess], keys: Sequence[str]) -> Iterator[str]:
    urls = [one.url for one in engines]
    routes = [
        {"model": MODEL, "endpoints": urls, "aliases": ["nickname"]},
        {"model": "private", "endpoints": urls},
    ]
    for name, text in (("routes", json.dumps(routes)), ("keys", "\n".join(keys))):
        (folder / name).write_text(text)
        yield from (f"--{name}", str(folder / name))


class Wire:
    """A connection on which a client sends whatever it wants, as slowly as it wants."""

    def __init__(self, client: socket.socket) -> None:
        self._socket = client
        self._loop = asyncio.get_running_loop()

    async def send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self._socket, data)

    async def receive(self, most: int = 65536) -> bytes:
        """What has come; nothing once the gateway has closed the connection."""
        try:
            return await self._loop.sock_recv(self._socket, most)
        except ConnectionError:
            return b""

    async def rest(self, *, seconds: float = PATIENCE_SECONDS) -> bytes:
        """All that comes until the gateway closes the connection; TimeoutError if it does not."""
        found = b""
        async with asyncio.timeout(seconds):
            while piece := await self.receive():
                found += piece
        return found

    async def head(self) -> bytes:
        """Of an answer, and maybe some of its body."""
        found = b""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while b"\r\n\r\n" not in found and (piece := await self.receive()):
                found += piece
        return found

    def close(self) -> None:
        self._socket.close()


def post(
    body: bytes = b"", *fields: str, path: str = CHAT, length: int | None = None, key: str = KEY
) -> bytes:
    """A request as it is written; `length` is what it says of its body."""
    said = len(body) if length is None else length
    lines = [f"POST {path} HTTP/1.1", "host: x", f"authorization: Bearer {key}", *fields]
    return "\r\n".join([*lines, f"content-length: {said}", "", ""]).encode() + body


def chat(*, tokens: int = 5, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "Which words do you know?"}]
    return {"model": MODEL, "messages": messages, "max_tokens": tokens, **more}


def session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        headers=AUTHORIZED,
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=PATIENCE_SECONDS),
    )


async def until(true: Any, *, seconds: float) -> float:
    """Poll; the seconds that it took. AssertionError after so many."""
    began = time.monotonic()
    while not await asyncio.to_thread(true):
        assert time.monotonic() - began < seconds, f"not within {seconds} s"
        await asyncio.sleep(0.02)
    return time.monotonic() - began


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]
