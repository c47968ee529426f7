"""A gateway that a test speaks for, beside a real API server, which has its pod and no kubelet."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from fakes.gateway import FakeGateway

from dev.kubectl import Kubectl


@dataclass
class SaidGateway:
    """A gateway in a thread of its own, and its pod, which no kubelet has."""

    kubectl: Kubectl
    namespace: str
    fake: FakeGateway = field(default_factory=FakeGateway)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    @contextmanager
    def running(self) -> Iterator["SaidGateway"]:
        thread = threading.Thread(target=self.loop.run_forever)
        thread.start()
        server = self.fake.running()
        self._run(server.__aenter__())
        self._make_pod()
        try:
            yield self
        finally:
            self._run(server.__aexit__(None, None, None))
            self.loop.call_soon_threadsafe(self.loop.stop)
            thread.join()

    def say(self, **numbers: Any) -> float:
        """Tells it of the model smol; returns when, in monotonic seconds."""
        at = time.monotonic()
        self.loop.call_soon_threadsafe(lambda: self.fake.say(self.namespace, **numbers))
        return at

    def send(self, data: bytes) -> None:
        """As it is, to whoever listens now."""
        self.loop.call_soon_threadsafe(self.fake.send, data)

    def be_silent(self, *, silent: bool) -> None:
        self.fake.silent = silent

    def _run(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout=10)

    def _make_pod(self) -> None:
        pod = self.fake.pod(namespace=self.namespace)
        container = pod["spec"]["containers"][0] | {"image": "example.test/gateway:1"}
        spec = {"containers": [container], "schedulerName": "none"}
        self.kubectl("create", "-f", "-", stdin=json.dumps(pod | {"spec": spec}))
        status = pod["status"] | {"phase": "Running", "podIPs": [{"ip": "127.0.0.1"}]}
        patch = json.dumps({"status": status})
        where = ("--namespace", self.namespace, "pod", self.fake.name)
        self.kubectl("patch", *where, "--subresource=status", "--type=merge", "-p", patch)
