"""A control plane's administrator without a process per request, for tests that look often."""

import http.client
import json
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

Object = dict[str, Any]
_SECONDS = 30.0


class RefusedError(Exception):
    """The API server's answer, 400 or above."""

    def __init__(self, code: int, said: str) -> None:
        super().__init__(f"{code}: {said}")
        self.code = code


@dataclass
class ClusterClient:
    """One connection, so one thread."""

    kubeconfig: Path
    _connection: http.client.HTTPSConnection | None = field(default=None, repr=False)

    def get(self, path: str) -> Object:
        return self._ask("GET", path)

    def find(self, path: str) -> Object | None:
        """None if there is no such thing."""
        try:
            return self.get(path)
        except RefusedError as error:
            if error.code == http.client.NOT_FOUND:
                return None
            raise

    def items(self, path: str, labels: str = "") -> list[Object]:
        query = f"?labelSelector={labels.replace('=', '%3D')}" if labels else ""
        found: list[Object] = self.get(f"{path}{query}")["items"]
        return found

    def create(self, path: str, body: Object) -> Object:
        return self._ask("POST", path, body)

    def patch(self, path: str, change: Object) -> Object:
        return self._ask("PATCH", path, change, "application/merge-patch+json")

    def delete(self, path: str) -> Object:
        return self._ask("DELETE", path)

    def _ask(
        self, verb: str, path: str, body: Object | None = None, content: str = "application/json"
    ) -> Object:
        sent = None if body is None else json.dumps(body)
        try:
            code, text = self._exchange(verb, path, sent, content)
        except (OSError, http.client.HTTPException):
            self._connection = None
            raise
        if code >= http.client.BAD_REQUEST:
            raise RefusedError(code, text)
        answer: Object = json.loads(text)
        return answer

    def _exchange(self, verb: str, path: str, body: str | None, content: str) -> tuple[int, str]:
        if self._connection is None:
            self._connection = _connect(self.kubeconfig)
        self._connection.request(verb, path, body, {"Content-Type": content})
        answer = self._connection.getresponse()
        return answer.status, answer.read().decode()


def _connect(kubeconfig: Path) -> http.client.HTTPSConnection:
    document = yaml.safe_load(kubeconfig.read_text())
    cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
    trust = ssl.create_default_context(cafile=cluster["certificate-authority"])
    trust.load_cert_chain(user["client-certificate"], user["client-key"])
    address = urlsplit(cluster["server"])
    return http.client.HTTPSConnection(
        str(address.hostname), address.port, timeout=_SECONDS, context=trust
    )
