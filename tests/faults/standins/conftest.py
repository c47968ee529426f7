"""The stand-in engine as a process, and raw requests to it."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass

import aiohttp
import pytest

# A loaded machine starts an interpreter in a few seconds.
PATIENCE_SECONDS = 20.0


@dataclass
class Running:
    process: subprocess.Popen
    url: str

    def call(self, path, body=None, headers=None):
        """Status, body and headers; of errors, too."""
        payload = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, payload, headers or {})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as reply:
                return reply.status, reply.read(), dict(reply.headers)
        except urllib.error.HTTPError as error:
            return error.code, error.read(), dict(error.headers)

    def ask(self, **body):
        return self.call("/v1/completions", {"model": "m", "prompt": "hello", **body})

    def metric(self, name, **labels):
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        for line in self.call("/metrics")[1].decode().splitlines():
            if line.startswith(name + "{") and all(one in line for one in wanted):
                return float(line.rpartition(" ")[2])
        raise AssertionError(f"no {name}")

    def until(self, wanted):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            try:
                if wanted():
                    return
            except OSError:
                pass
            time.sleep(0.02)
        raise AssertionError("it did not happen in time")

    def running(self, count):
        self.until(lambda: self.metric("vllm:num_requests_running") == count)

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    async def together(self, bodies):
        """Status and content of each; "cut" where the connection ended too soon."""
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            return await asyncio.gather(*(self._one(session, body) for body in bodies))

    async def _one(self, session, body):
        try:
            async with session.post(
                self.url + "/v1/completions", json={"model": "m", "prompt": "hello", **body}
            ) as reply:
                content = b""
                async for piece in reply.content.iter_any():
                    content += piece
                return reply.status, content
        except aiohttp.ClientPayloadError:
            return "cut", content
        except aiohttp.ClientError:
            return "refused", b""


@pytest.fixture
def engine(tmp_path):
    """`engine(*flags, KNOB=...)` is up when it returns."""
    started = []

    def start(*flags, **knobs):
        with socket.create_server(("127.0.0.1", 0)) as found:
            port = found.getsockname()[1]
        command = [sys.executable, "-m", "standins.engine", "--model=m", f"--port={port}"]
        process = subprocess.Popen(
            [*command, *flags],
            env=os.environ
            | {"PYTHONPATH": os.pathsep.join(sys.path), "STANDIN_LOAD_SECONDS": "0"}
            | {f"STANDIN_{name}": str(value) for name, value in knobs.items()},
            stdout=(tmp_path / "log").open("wb"),
            stderr=subprocess.STDOUT,
        )
        started.append(process)
        one = Running(process, f"http://127.0.0.1:{port}")
        one.until(lambda: process.poll() is not None or one.call("/health")[0] == 200)
        return one

    yield start
    for process in started:
        process.kill()
        process.wait()
