"""A key that is taken out of the Secret, at a gateway that watches a real API server."""

import base64
import hashlib
import http.client
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

import invariants
import pytest
from cluster_client import ClusterClient
from gateway_process import GatewayProcess

from berth_api import names
from dev import progress
from dev.controlplane import ControlPlane

REVOKED_SECONDS = 10.0
NAMESPACE = "keys-revoked"
_SECRETS = f"/api/v1/namespaces/{NAMESPACE}/secrets"
_BAD_KEYS = 100


def _hashed(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _data(keys: Mapping[str, str]) -> dict[str, str]:
    return {name: base64.b64encode(_hashed(key).encode()).decode() for name, key in keys.items()}


@pytest.fixture(scope="module")
def keys() -> dict[str, str]:
    return {name: f"sk-berth-{secrets.token_hex(32)}" for name in ("team-a", "team-b")}


@pytest.fixture(scope="module")
def cluster(plane: ControlPlane, keys: dict[str, str]) -> Iterator[ClusterClient]:
    found = ClusterClient(plane.kubeconfig)
    found.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    found.create(_SECRETS, {"metadata": {"name": names.SECRET_API_KEYS}, "data": _data(keys)})
    yield found
    found.delete(f"/api/v1/namespaces/{NAMESPACE}")


@pytest.fixture
def gateway(
    plane: ControlPlane, cluster: ClusterClient, tmp_path: Path
) -> Iterator[GatewayProcess]:
    places = ("--cluster", "--kubeconfig", str(plane.kubeconfig), "--namespace", NAMESPACE)
    running = GatewayProcess(tmp_path, (*places, "--watch-namespaces", NAMESPACE))
    try:
        yield running.start()
    finally:
        running.kill()


def _status(gateway: GatewayProcess, key: str) -> int:
    client = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=REVOKED_SECONDS)
    client.request("GET", "/v1/models", headers={"authorization": f"Bearer {key}"})
    status = client.getresponse().status
    client.close()
    return status


def test_fault_40_a_revoked_key_is_out_in_seconds_and_no_log_has_any(
    gateway: GatewayProcess, cluster: ClusterClient, keys: dict[str, str]
) -> None:
    revoked, kept = keys["team-a"], keys["team-b"]
    bad = [f"sk-berth-{secrets.token_hex(32)}" for _ in range(_BAD_KEYS)]
    assert {_status(gateway, key) for key in (revoked, kept)} == {200}
    assert {_status(gateway, key) for key in bad} == {401}

    cluster.patch(f"{_SECRETS}/{names.SECRET_API_KEYS}", {"data": {"team-a": None}})
    progress.wait_for(
        "the end of the key", lambda: _status(gateway, revoked) == 401, seconds=REVOKED_SECONDS
    )
    assert _status(gateway, kept) == 200

    log = gateway.log.read_text()
    assert invariants.alarms(log, ()) == []
    for key in (revoked, kept, *bad):
        assert key not in log
        assert _hashed(key) not in log
