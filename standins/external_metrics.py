"""A stand-in for prometheus-adapter: external.metrics.k8s.io, behind the API server's aggregation.

It answers an HPA's question with what a gateway's /metrics says at that moment; the real adapter
asks Prometheus, which asked the gateway some seconds earlier.
"""

import base64
import json
import ssl
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from dev.certificates import Authority, KeyPair
from dev.kubectl import Kubectl

GROUP_VERSION = "external.metrics.k8s.io/v1beta1"
ROOT = f"/apis/{GROUP_VERSION}"
NAMESPACE, SERVICE = "kube-system", "external-metrics"

Object = dict[str, Any]
Read = Callable[[str, Mapping[str, str]], float | None]
"""The value of a metric's only series with these labels; None: there is none."""


@contextmanager
def serving(read: Read, metric: str, authority: Authority, kubectl: Kubectl) -> Iterator[None]:
    """Registered with the API server for as long as the context lasts."""
    pair = serving_pair(authority)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.root.certificate)
    context.load_cert_chain(pair.certificate, pair.key)
    context.verify_mode = ssl.CERT_REQUIRED  # the API server, and nobody else
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(read, metric))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        with registered(server.server_port, authority, kubectl):
            yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def serving_pair(authority: Authority) -> KeyPair:
    """For the name by which the API server asks."""
    host = f"{SERVICE}.{NAMESPACE}.svc"
    addresses = [f"DNS:{host}", "DNS:localhost", "IP:127.0.0.1"]
    return authority.issue(SERVICE, user=host, addresses=addresses)


@contextmanager
def registered(port: int, authority: Authority, kubectl: Kubectl) -> Iterator[None]:
    """Whoever listens on `port` answers for the group, for as long as the context lasts."""
    objects = json.dumps(registration(port, authority))
    kubectl("apply", "-f", "-", stdin=objects)
    try:
        yield
    finally:
        kubectl("delete", "--wait=false", "-f", "-", stdin=objects)


def registration(port: int, authority: Authority) -> Object:
    """An endpoint may not be on loopback, an external name may."""
    group, version = GROUP_VERSION.split("/")
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": SERVICE, "namespace": NAMESPACE},
        "spec": {"type": "ExternalName", "externalName": "localhost"},
    }
    api_service = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": f"{version}.{group}"},
        "spec": {
            "group": group,
            "version": version,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "service": {"name": SERVICE, "namespace": NAMESPACE, "port": port},
            "caBundle": base64.b64encode(authority.root.certificate.read_bytes()).decode(),
        },
    }
    return {"apiVersion": "v1", "kind": "List", "items": [service, api_service]}


def _handler(read: Read, metric: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            answer = answered(self.path, read, metric)
            body = json.dumps(answer or {"kind": "Status", "code": 404}).encode()
            self.send_response(200 if answer else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def answered(target: str, read: Read, metric: str) -> Object | None:
    """None is 404."""
    path, _, query = target.partition("?")
    if path == ROOT:
        return _resources(metric)
    parts = path.removeprefix(f"{ROOT}/namespaces/").split("/")
    if not path.startswith(f"{ROOT}/namespaces/") or parts[1:] != [metric]:
        return None
    selector = urllib.parse.parse_qs(query).get("labelSelector", [""])[0]
    labels = dict(one.split("=", 1) for one in selector.split(",") if one)
    value = read(metric, labels | {"namespace": parts[0]})
    return _values(metric, labels, [] if value is None else [value])


def _resources(metric: str) -> Object:
    kind = "ExternalMetricValueList"
    resource = {
        "name": metric,
        "singularName": "",
        "namespaced": True,
        "kind": kind,
        "verbs": ["get"],
    }
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": GROUP_VERSION,
        "resources": [resource],
    }


def _values(metric: str, labels: Mapping[str, str], values: list[float]) -> Object:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "kind": "ExternalMetricValueList",
        "apiVersion": GROUP_VERSION,
        "metadata": {},
        "items": [
            {"metricName": metric, "metricLabels": labels, "timestamp": now, "value": f"{value:g}"}
            for value in values
        ],
    }
