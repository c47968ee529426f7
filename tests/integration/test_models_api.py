"""Ollama's own clients manage models: a gateway, two operators and an API server, all real.

The gateway is told of the operator that does not lead, for that one serves too. Operators have no
rights but the chart's.
"""

import base64
import contextlib
import hashlib
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import builders
import ollama
import ollama_js
import pytest
from gateway_process import GatewayProcess
from operator_process import Models, OperatorProcess, account_kubeconfig, chart_rights

from berth_api import names
from dev.kubectl import Kubectl

SOURCE = "hf://team/known"
MANAGER, CLIENT, LIMITED = "sk-berth-manager", "sk-berth-client", "sk-berth-limited"
HUGE = builders.SMOLLM2_REPORT | {"tensorBytes": {"BF16": 2**50}}


@dataclass(frozen=True)
class Site:
    gateway: GatewayProcess
    models: Models

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.gateway.port}"

    def client(self, key: str = MANAGER) -> ollama.Client:
        return ollama.Client(host=self.url, headers={"authorization": f"Bearer {key}"})

    def spec(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.models.get(names.PLURAL, name)["spec"]
        return found


def secret(namespace: str) -> dict[str, Any]:
    digests = {key: hashlib.sha256(key.encode()).hexdigest() for key in (MANAGER, CLIENT, LIMITED)}
    entries = {
        "manager": {"sha256": digests[MANAGER], "manage": True},
        "client": {"sha256": digests[CLIENT]},
        "limited": {"sha256": digests[LIMITED], "manage": True, "models": ["luigi"]},
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": names.SECRET_API_KEYS, "namespace": namespace},
        "data": {
            name: base64.b64encode(json.dumps(entry).encode()).decode()
            for name, entry in entries.items()
        },
    }


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def space(kubectl: Kubectl, definition: None) -> Iterator[str]:
    name = "berth-test-models-api"
    kubectl("create", "namespace", name)
    rights = json.dumps({"apiVersion": "v1", "kind": "List", "items": chart_rights(name)})
    kubectl("apply", "-f", "-", stdin=rights)
    kubectl("apply", "-f", "-", stdin=json.dumps(secret(name)))
    yield name
    kubectl("delete", "--ignore-not-found", "--wait=false", "-f", "-", stdin=rights)
    kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="module")
def site(kubectl: Kubectl, space: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("models-api")
    kubeconfig = account_kubeconfig(kubectl, space, folder)
    with contextlib.ExitStack() as stack:
        for name in ("leader", "standby"):
            (folder / name).mkdir()
            port = free_port()
            settings = {
                "modelsNamespace": space,
                "modelsPort": port,
                "modelShapes": {SOURCE: builders.SMOLLM2_REPORT, "hf://team/huge": HUGE},
            }
            operator = OperatorProcess(
                kubeconfig, space, folder / name, leader_election=True, configured=settings
            )
            stack.callback(operator.start().kill)
            operator.wait_until_ready()
        places = ("--cluster", "--kubeconfig", str(kubectl.kubeconfig), "--namespace", space)
        api = ("--watch-namespaces", space, "--models-api", f"http://127.0.0.1:{port}")
        gateway = GatewayProcess(folder, (*places, *api))
        stack.callback(gateway.kill)
        yield Site(gateway.start(), Models(kubectl, space))


@pytest.fixture
def client(site: Site) -> Iterator[ollama.Client]:
    with site.client() as made:
        yield made


def listed(client: ollama.Client) -> set[str | None]:
    return {one.model for one in client.list().models}


def test_a_models_life_by_the_python_client(site: Site, client: ollama.Client) -> None:
    asked = {"system": "You are Mario.", "parameters": {"temperature": 0.5}}
    lines = [one.status for one in client.create("mario", from_=SOURCE, stream=True, **asked)]
    assert lines[-1] == "success"
    assert "mario:latest" in listed(client)
    assert site.spec("mario")["defaults"]["parameters"] == {"temperature": "0.5"}
    assert site.spec("mario")["scaling"]["mode"] == "Auto"

    assert client.copy("mario", "luigi:it").status == "success"
    assert "luigi:it" in listed(client)
    assert site.spec("luigi-it")["defaults"]["system"] == "You are Mario."

    assert client.create("toad", from_="luigi:it", system="You are Toad.").status == "success"
    assert site.spec("toad")["model"]["source"] == SOURCE

    for name in ("mario", "luigi:it", "toad:latest"):
        assert client.delete(name).status == "success"
    assert listed(client) == set()


def test_what_is_created_twice_is_the_second_one(site: Site, client: ollama.Client) -> None:
    client.create("peach", from_=SOURCE, system="Be kind.")
    client.create("peach", from_=SOURCE, parameters={"top_k": 7})
    assert site.spec("peach")["defaults"] == {"parameters": {"topK": 7}}
    client.delete("peach")


def test_a_pull_of_an_original_is_a_model_that_can_be_asked(
    site: Site, client: ollama.Client
) -> None:
    lines = [one.status for one in client.pull("hf.co/team/known", stream=True)]
    assert lines[-1] == "success"
    assert client.show("hf.co/team/known").capabilities == ["completion"]
    assert client.pull("hf.co/team/known").status == "success"  # again: it is there
    client.delete("hf.co/team/known")


def test_a_pull_of_what_fits_nowhere_says_so_and_leaves_nothing(
    site: Site, client: ollama.Client
) -> None:
    with pytest.raises(ollama.ResponseError, match="Fix: ") as refused:
        client.pull("hf.co/team/huge")
    assert refused.value.status_code == 500
    site.models.wait_for("its end", lambda: "hf.co/team/huge:latest" not in listed(client))


def test_what_kubectl_made_is_deleted_and_not_written_over(
    site: Site, client: ollama.Client
) -> None:
    site.models.create("bowser")
    site.models.wait_for("the gateway", lambda: "bowser:latest" in listed(client))
    with pytest.raises(ollama.ResponseError, match="was not made by this API") as refused:
        client.create("bowser", from_=SOURCE)
    assert refused.value.status_code == 409
    assert client.delete("bowser").status == "success"


def test_a_key_may_what_its_entry_says(site: Site) -> None:
    with site.client(CLIENT) as client, pytest.raises(ollama.ResponseError) as refused:
        client.create("x", from_=SOURCE)
    assert refused.value.status_code == 403
    with site.client(LIMITED) as client:
        assert client.create("luigi", from_=SOURCE).status == "success"
        with pytest.raises(ollama.ResponseError, match="not on it") as refused:
            client.create("mario", from_=SOURCE)
        assert refused.value.status_code == 403
        assert client.delete("luigi").status == "success"


def test_a_models_life_by_the_javascript_client(site: Site, tmp_path: Path) -> None:
    js = ollama_js.prepare(tmp_path, site.url, MANAGER)
    lines = js.call("create", {"model": "yoshi", "from": SOURCE, "stream": True})["value"]
    assert lines[-1] == {"status": "success"}
    assert js.call("copy", {"source": "yoshi", "destination": "birdo"}) == {
        "value": {"status": "success"}
    }
    assert js.call("pull", {"model": "birdo"})["value"] == {"status": "success"}
    for name in ("yoshi", "birdo"):
        assert js.call("delete", {"model": name})["value"] == {"status": "success"}
    missing = js.call("delete", {"model": "yoshi"})
    assert missing == {"error": "model 'yoshi' not found", "status": 404}
    assert js.call("push", {"model": "yoshi"})["status"] == 501
