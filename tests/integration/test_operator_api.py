"""The adapter against a real API server: what the fake promises, the real one keeps."""

import asyncio
import base64
import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from operator_process import account_kubeconfig, chart_rights

from berth_api import names
from berth_operator.cluster import kinds
from berth_operator.cluster.kubernetes_api import KubernetesApi, connect
from berth_operator.cluster.learned import NAME, Memory
from berth_operator.cluster.port import Form
from berth_operator.core import drift
from berth_operator.core.planner.learned import MAX_RECORDS, Record
from berth_operator.errors import Conflict, Denied, NotFound
from berth_operator.metrics import Metrics
from dev.kubectl import Kubectl


@pytest.fixture
async def api(
    kubectl: Kubectl, definition: None, namespace: str, tmp_path: Path
) -> AsyncIterator[KubernetesApi]:
    """With the chart's rights."""
    rights = json.dumps({"apiVersion": "v1", "kind": "List", "items": chart_rights(namespace)})
    kubectl("apply", "-f", "-", stdin=rights)
    kubeconfig = account_kubeconfig(kubectl, namespace, tmp_path)
    client = await connect({"KUBECONFIG": str(kubeconfig)})
    yield KubernetesApi(client, may_write=lambda: True, metrics=Metrics())
    await client.close()
    kubectl("delete", "--ignore-not-found", "--wait=false", "-f", "-", stdin=rights)


def deployment(namespace: str, **spec: Any) -> dict[str, Any]:
    labels = {names.LABEL_MODEL: "smol"}
    resources = {"limits": {"cpu": "1000m", "memory": "1024Mi"}}
    container = {"name": "engine", "image": "example.test/x:1", "resources": resources, "args": []}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "smol-1", "namespace": namespace, "labels": labels},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template} | spec,
    }


async def test_applying_the_same_again_changes_nothing(api: KubernetesApi, namespace: str) -> None:
    service = {  # a Deployment's controller writes its status in between
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "smol-engine", "namespace": namespace},
        "spec": {"clusterIP": "None", "ports": [{"port": 8000}]},
    }
    first = await api.apply(drift.stamp(service))
    again = await api.apply(drift.stamp(service))
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_what_the_api_server_fills_in_is_no_difference(
    api: KubernetesApi, namespace: str
) -> None:
    stamped = drift.stamp(deployment(namespace))
    live = await api.apply(stamped)
    limits = live["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits == {"cpu": "1", "memory": "1Gi"}
    assert drift.difference(stamped, live) is None


async def test_a_field_that_is_no_longer_applied_goes(api: KubernetesApi, namespace: str) -> None:
    await api.apply(deployment(namespace, minReadySeconds=7))
    live = await api.apply(deployment(namespace))
    assert "minReadySeconds" not in live["spec"]


async def test_an_unknown_field_is_our_fault_and_not_to_be_repeated(
    api: KubernetesApi, namespace: str
) -> None:
    with pytest.raises(Denied, match="nonsense") as refused:
        await api.apply(deployment(namespace, nonsense=1))
    assert refused.value.status == 500


async def test_an_invalid_value_is_denied(api: KubernetesApi, namespace: str) -> None:
    with pytest.raises(Denied, match="replicas"):
        await api.apply(deployment(namespace, replicas=-1))


async def test_a_deletion_meets_only_the_object_with_the_uid(
    api: KubernetesApi, namespace: str
) -> None:
    live = await api.apply(deployment(namespace))
    with pytest.raises(Conflict):
        await api.delete(kinds.DEPLOYMENT, namespace, "smol-1", uid="another")
    await api.delete(kinds.DEPLOYMENT, namespace, "smol-1", uid=live["metadata"]["uid"])
    with pytest.raises(NotFound):
        await api.get(kinds.DEPLOYMENT, namespace, "smol-1")


async def test_a_patch_meets_only_the_object_with_the_uid(
    api: KubernetesApi, kubectl: Kubectl, namespace: str
) -> None:
    container = {"name": "engine", "image": "example.test/x:1"}
    labels = {names.LABEL_MODEL: "smol", names.LABEL_ROUTE: names.ROUTE_OPEN}
    metadata = {"name": "smol-1", "namespace": namespace, "labels": labels}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}
    spec = {"containers": [container], "nodeSelector": {"no": "node"}}
    kubectl("create", "-f", "-", stdin=json.dumps(pod | {"spec": spec}))
    off = {"labels": {names.LABEL_ROUTE: None}}
    with pytest.raises(Conflict):
        await api.patch(
            kinds.POD, namespace, "smol-1", {"metadata": off | {"uid": str(uuid.uuid4())}}
        )
    (live,) = await api.list_all(kinds.POD, namespace, labels=names.LABEL_ROUTE)
    done = await api.patch(
        kinds.POD, namespace, "smol-1", {"metadata": off | {"uid": live["metadata"]["uid"]}}
    )
    assert done["metadata"]["labels"] == {names.LABEL_MODEL: "smol"}


async def test_lists_come_in_pages_with_their_kind(
    api: KubernetesApi, kubectl: Kubectl, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("berth_operator.cluster.kubernetes_api.PAGE_OBJECTS", 2)
    for number in range(5):
        body = deployment(namespace)
        body["metadata"]["name"] = f"smol-{number}"
        await api.apply(body)
    label = names.LABEL_MODEL
    found = await api.list_all(kinds.DEPLOYMENT, namespace, labels=label)
    pages = [
        page.items
        async for page in api.pages(kinds.DEPLOYMENT, namespace, labels=label, form=Form.METADATA)
    ]
    slim = [obj for page in pages for obj in page]
    assert [len(page) for page in pages] == [2, 2, 1]
    assert len(found) == len(slim) == 5
    assert {one["kind"] for one in found + slim} == {"Deployment"}
    assert "spec" in found[0]
    assert "spec" not in slim[0]
    assert await api.list_all(kinds.JOB, namespace, labels=label) == []


async def test_an_unread_list_is_the_list_without_managed_fields(
    api: KubernetesApi, namespace: str
) -> None:
    await api.apply(  # a kind that no controller changes
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "smol", "namespace": namespace},
            "spec": {"clusterIP": "None", "ports": [{"port": 8000}]},
        }
    )
    (found,) = await api.list_all(kinds.SERVICE, namespace)
    pages = api.pages(kinds.SERVICE, namespace, form=Form.UNREAD)
    (unread,) = [obj async for page in pages for obj in page.items]
    del found["metadata"]["managedFields"]
    assert unread["metadata"] == found["metadata"]
    assert msgspec.json.decode(msgspec.json.encode(unread)) == found
    assert [page.items async for page in api.pages(kinds.JOB, namespace, form=Form.UNREAD)] == [[]]


async def test_whose_a_secret_is_can_be_told_without_the_right_to_read_it(
    api: KubernetesApi, kubectl: Kubectl, namespace: str
) -> None:
    with pytest.raises(Denied):
        await api.get(kinds.SECRET, namespace, "smol-engine-key")
    assert await api.owners(kinds.SECRET, namespace, "smol-engine-key") is None
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "smol-engine-key", "namespace": namespace},
        "data": {"engineKey": base64.b64encode(b"x").decode()},
    }
    await api.apply(body)
    assert await api.owners(kinds.SECRET, namespace, "smol-engine-key") == []
    account = kubectl.json("get", "serviceaccount", "berth-operator", "--namespace", namespace)
    uid = account["metadata"]["uid"]
    owner = {"apiVersion": "v1", "kind": "ServiceAccount", "name": "berth-operator", "uid": uid}
    await api.apply(body | {"metadata": body["metadata"] | {"ownerReferences": [owner]}})
    found = await api.owners(kinds.SECRET, namespace, "smol-engine-key")
    assert found is not None
    assert [one["uid"] for one in found] == [uid]
    live = kubectl.json("get", "secret", "smol-engine-key", "--namespace", namespace)
    assert live["data"] == body["data"]


async def test_a_status_is_bound_to_the_version_that_it_is_about(
    api: KubernetesApi, kubectl: Kubectl, namespace: str
) -> None:
    identity = {"name": "smol", "namespace": namespace}
    model = {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": identity}
    spec = {"model": {"source": "hf://a/b"}}
    kubectl("create", "-f", "-", stdin=json.dumps(model | {"spec": spec}))
    live = kubectl.json("get", names.PLURAL, "smol", "--namespace", namespace)
    version = {"resourceVersion": live["metadata"]["resourceVersion"]}
    told = model | {"metadata": identity | version}
    written = await api.apply_status(told | {"status": {"phase": "Pending"}})
    assert written["status"] == {"phase": "Pending"}
    with pytest.raises(Conflict):
        await api.apply_status(told | {"status": {"phase": "Ready"}})
    kubectl("delete", names.PLURAL, "smol", "--namespace", namespace)
    with pytest.raises((NotFound, Conflict)):
        await api.apply_status(told | {"status": {"phase": "Ready"}})


def lesson(accelerator: str) -> Record:
    return Record(
        model="hf://a/b",
        shape="a",
        accelerator=accelerator,
        card_bytes=2**36,
        tensor_parallel=1,
        image="example.test/vllm:1",
        dtype="bfloat16",
        kv_dtype="auto",
        sequences=256,
        tokens=8192,
        arguments="b",
        extra_bytes=2**30,
        at="2026-01-02T03:04:05Z",
    )


def learned(kubectl: Kubectl, namespace: str) -> dict[str, Any]:
    found: dict[str, Any] = kubectl.json("get", "configmap", NAME, "--namespace", namespace)
    return found


async def test_two_models_that_learn_at_once_share_one_config_map(
    api: KubernetesApi, kubectl: Kubectl, namespace: str
) -> None:
    """Also where each has its own idea of what is there: every write names its own keys only."""
    lessons = [lesson(name) for name in ("h100", "l40s", "b200", "mi300x")]
    one, other = Memory(api, namespace), Memory(api, namespace)
    for memory in (one, other):
        await memory.read()
    await asyncio.gather(
        *(memory.keep([new]) for memory, new in zip((one, other) * 2, lessons, strict=True))
    )
    assert set(learned(kubectl, namespace)["data"]) == {new.key for new in lessons}


async def test_what_is_known_already_is_not_written_again(
    api: KubernetesApi, kubectl: Kubectl, namespace: str
) -> None:
    await Memory(api, namespace).keep([lesson("h100")])
    before = learned(kubectl, namespace)
    again = Memory(api, namespace)
    await again.read()
    assert not await again.keep([lesson("h100")])
    assert learned(kubectl, namespace) == before
    assert again.records == {lesson("h100").key: lesson("h100")}


async def test_a_full_memory_fits_and_forgets_on_a_real_api_server(
    api: KubernetesApi, kubectl: Kubectl, namespace: str
) -> None:
    many = [
        lesson(f"card-{number}").model_copy(
            update={"model": "m" * 512, "image": "i" * 512, "at": f"2026-01-02T03:{number:05}Z"}
        )
        for number in range(MAX_RECORDS + 1)
    ]
    memory = Memory(api, namespace)
    await memory.keep(many[:-1])
    await memory.keep(many[-1:])
    assert set(learned(kubectl, namespace)["data"]) == {one.key for one in many[1:]}


async def test_the_operator_reads_and_patches_no_other_config_map(
    api: KubernetesApi, namespace: str
) -> None:
    with pytest.raises(Denied):
        await api.get(kinds.CONFIG_MAP, namespace, "kube-root-ca.crt")
    with pytest.raises(Denied):
        await api.patch(kinds.CONFIG_MAP, namespace, "kube-root-ca.crt", {"data": {"a": "b"}})
