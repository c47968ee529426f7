"""Bad inputs that only the operator can tell: each ends as a condition that says what to change.

The numbers are those of docs/bad-inputs.md. What a pod's own parts find (the shape Job, the engine)
is found by them here too, and goes to the operator as it does in a cluster.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import builders
import gpu_nodes
import pytest
from fakes.cluster_of_one import ClusterOfOne, planned

from berth_api.server import FetchConfig, ServerConfig
from berth_api.shape import ShapeReport
from berth_operator.core.observed import Refusal
from berth_server import args, crash, shape
from berth_server.binding import Cpus
from standins import hub, hub_server

LLAMA_8B = {
    "commit": "c",
    "config": dict(builders.LLAMA_8B_CONFIG),
    "tensorBytes": {"BF16": 16_060_522_496},
    "tensorCount": 291,
    "fileBytes": 16_060_556_616,
}
ON_H100 = [{"profile": "h100"}]


def told(cluster: ClusterOfOne) -> tuple[str, str]:
    """The reason and the message that `kubectl get` shows."""
    cluster.settle()
    status = cluster.cr["status"]
    return status["reason"], status["message"]


def refused(cluster: ClusterOfOne) -> tuple[str, str]:
    """The same, and no engine was asked for."""
    found = told(cluster)
    assert cluster.kind("Deployment") == []
    return found


def with_shape(report: Any = LLAMA_8B, **spec: Any) -> ClusterOfOne:
    """A model whose shape has just been read."""
    cluster = ClusterOfOne(cr=builders.model_deployment(**({"accelerators": ON_H100} | spec)))
    cluster.step()
    cluster.read_shape(report)
    return cluster


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with hub_server.served(hub.repositories()) as url:
        yield url


def from_hub(endpoint: str, tmp_path: Path, name: str, token: str | None = None) -> ClusterOfOne:
    """A model of the stand-in hub, once its shape Job has ended."""
    source = f"hf://berth/{name}"
    config = FetchConfig(source=source, directory=str(tmp_path), token_secret="team-a/hf[token]")
    environment = {"HF_ENDPOINT": endpoint} | ({"HF_TOKEN": token} if token else {})
    cluster = ClusterOfOne(cr=builders.model_deployment(source))
    cluster.step()
    cluster.read_shape(wire(shape.report(config, environment)))
    return cluster


def wire(report: ShapeReport) -> Any:
    return json.loads(report.model_dump_json())


def test_bad_input_03_a_size_that_does_not_divide_the_heads() -> None:
    reason, message = refused(with_shape(parallelism={"tensor": 3}, accelerators=[]))
    assert reason == "TensorParallelInvalid"
    assert "spec.parallelism.tensor: 3: " in message
    assert "3 does not divide 32 attention heads" in message
    assert "Fix: use one of 1, 2, or auto" in message


def test_bad_input_04_more_gpus_than_any_node_has() -> None:
    reason, message = refused(with_shape(parallelism={"tensor": 8}))
    assert reason == "TensorParallelInvalid"
    assert "spec.parallelism.tensor: 8: 8 GPUs on one node are asked" in message
    assert "of h100 a node has 2" in message
    assert "Fix: use one of 1, 2, or auto" in message


def test_bad_input_06_more_of_a_shared_card_than_is_one_pods_part() -> None:
    cluster = with_shape(builders.SMOLLM2_REPORT, memory={"gpuMemoryFraction": "0.5"})
    node = gpu_nodes.time_sliced(pods=4)
    profile = {"name": "h100", "engineProfile": "vllm", "resource": "nvidia.com/gpu"}
    cluster.context = builders.context(acceleratorProfiles=[profile])
    cluster.known = {"nodes": (node.seen(),)}
    reason, message = refused(cluster)
    assert reason == "InvalidSpec"
    assert "spec.memory.gpuMemoryFraction: 0.5 of h100 is asked" in message
    assert "4 pods share each of its cards, so that 0.249 is each one's part" in message
    assert "Fix: set it to at most 0.249 or to auto" in message


def test_bad_input_07_a_model_that_does_not_fit() -> None:
    large = LLAMA_8B | {"tensorBytes": {"BF16": 160 * 2**30}}
    reason, message = refused(with_shape(large))
    assert reason == "MultiNodeUnsupported"
    assert "on each of 2 ranks, 80.00 GiB of weights" in message
    assert "GiB too much; 2 nodes would hold it" in message
    assert "Fix: use nodes with 4 of these cards" in message


def test_bad_input_07_a_model_that_fits_no_number_of_nodes() -> None:
    reason, message = refused(with_shape(accelerators=[{"profile": "cpu"}]))
    assert reason == "DoesNotFit"
    assert "GiB of weights" in message
    assert "GiB too much" in message
    assert "Fix: set spec.resources.memory to at least " in message


def test_bad_input_08_a_context_longer_than_the_kv_cache() -> None:
    spec = {"runtime": {"maxModelLen": 131072}, "resources": {"memory": "16Gi"}}
    reason, message = refused(
        with_shape(
            LLAMA_8B | {"tensorBytes": {"BF16": 2**30}}, accelerators=[{"profile": "cpu"}], **spec
        )
    )
    assert reason == "DoesNotFit"
    assert "a context of 131072 tokens" in message
    assert "GiB too much" in message
    assert "set spec.runtime.maxModelLen to at most " in message


def test_bad_input_08_a_context_longer_than_the_model_has_positions() -> None:
    reason, message = refused(with_shape(runtime={"maxModelLen": 131073}))
    assert reason == "InvalidSpec"
    assert "spec.runtime.maxModelLen: 131073 tokens are asked" in message
    assert "the model has 131072 positions" in message
    assert "Fix: set it to at most 131072, or to auto" in message


@pytest.mark.parametrize(
    ("name", "token", "reason", "said", "fix"),
    [
        ("nope", None, "NotFound", "berth/nope does not exist at http", "check spec.model.source"),
        ("gated", None, "GatedModel", "berth/gated is gated", "accept the licence at http"),
        ("tiny", "hf_wrong", "AuthFailed", "refused the token of Secret team-a/hf[token]",
         "put a valid token with read access into the Secret"),
    ],
)  # fmt: skip
def test_bad_input_10_a_repository_that_cannot_be_had(
    endpoint: str, tmp_path: Path, name: str, token: str | None, reason: str, said: str, fix: str
) -> None:
    found, message = refused(from_hub(endpoint, tmp_path, name, token))
    assert found == reason
    assert said in message
    assert f"Fix: {fix}" in message
    assert token is None or token not in message


def test_bad_input_11_a_revision_that_the_repository_does_not_have(
    endpoint: str, tmp_path: Path
) -> None:
    reason, message = refused(from_hub(endpoint, tmp_path, "tiny@v9"))
    assert reason == "NotFound"
    assert "berth/tiny has no revision v9" in message
    assert "Fix: name a branch, a tag or a commit of it after @ in spec.model.source" in message


def test_bad_input_12_a_secret_that_is_not_there_until_it_is() -> None:
    cluster = ClusterOfOne(
        cr=builders.model_deployment(
            model={
                "source": "hf://a/b",
                "authSecretRef": {"name": "hf", "key": "token"},
            }
        )
    )
    cluster.step()
    cluster.read_shape()
    cluster.step()
    waiting = builders.waiting("fetch", "CreateContainerConfigError", 'secret "hf" not found')
    cluster.serve(ready=False, init=[waiting])
    _see_spec(cluster)
    reason, message = told(cluster)
    assert reason == "AuthFailed"
    assert 'Secret hf, key token: secret "hf" not found' in message
    assert "Fix: create the Secret that spec.model.authSecretRef names" in message
    cluster.serve()
    assert told(cluster)[0] == "Serving"


def _see_spec(cluster: ClusterOfOne) -> None:
    """The pods have what their template says, as a ReplicaSet's pods do."""
    (deployment,) = cluster.kind("Deployment")
    for pod in cluster.pods:
        pod.object["spec"] |= deployment["spec"]["template"]["spec"]


def test_bad_input_12_a_claim_that_is_not_there_until_it_is() -> None:
    cluster = planned(cr=builders.model_deployment("pvc://models/qwen3"))
    said = '0/1 nodes are available: persistentvolumeclaim "models" not found.'
    cluster.serve(ready=False, conditions=[_unscheduled(said)])
    reason, message = told(cluster)
    assert (reason, said in message) == ("Unschedulable", True)
    assert "Fix: create the claim that the message names, or mend spec.model" in message
    cluster.serve()
    assert told(cluster)[0] == "Serving"


def _unscheduled(message: str) -> dict[str, str]:
    return {"type": "PodScheduled", "status": "False", "message": message}


def test_bad_input_13_a_claim_of_one_node_for_pods_on_two() -> None:
    cluster = planned(cr=builders.model_deployment("pvc://models/qwen3", replicas=2))
    said = 'Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) smollm2-y'
    warning = {
        "reason": "FailedAttachVolume",
        "message": said,
        "involvedObject": {"name": "smollm2-x"},
    }
    cluster.known = {"warnings": (warning,)}
    cluster.serve(ready=False)
    reason, message = told(cluster)
    assert (reason, said in message) == ("Unschedulable", True)
    assert "access mode ReadWriteMany or ReadOnlyMany" in message
    assert "set spec.replicas to 1" in message


def test_bad_input_13_a_claim_whose_volume_is_on_another_node() -> None:
    cluster = planned(cr=builders.model_deployment("pvc://models/qwen3", replicas=2))
    said = "0/2 nodes are available: 1 node(s) had volume node affinity conflict."
    cluster.serve(ready=False, conditions=[_unscheduled(said)])
    assert "set spec.replicas to 1" in told(cluster)[1]


def test_bad_input_14_weights_as_pickles_only(endpoint: str, tmp_path: Path) -> None:
    reason, message = refused(from_hub(endpoint, tmp_path, "pickles"))
    assert reason == "NoSafetensors"
    assert "berth/pickles has no .safetensors files: only pickled weights" in message
    assert "Fix: use a revision or a repository with safetensors" in message


@pytest.mark.parametrize("flag", ["--foo", "; rm -rf /", "$(reboot)"])
def test_bad_input_16_an_argument_that_the_engine_does_not_know(flag: str) -> None:
    cluster = planned(cr=builders.model_deployment(runtime={"extraArgs": [flag]}))
    log = ["usage: vllm serve [options]", f"vllm: error: unrecognized arguments: {flag}"]
    cause = crash.explain(log, 2).model_dump_json()
    cluster.serve(ready=False, containers=[builders.ended("engine", 2, cause, restarts=1)])
    reason, message = told(cluster)
    assert reason == "CrashLoop"
    assert f"the engine does not know these arguments: {flag}" in message
    assert "Fix: correct spec.runtime.extraArgs for this version of the engine" in message


def test_bad_input_16_an_argument_is_one_word_and_no_shells() -> None:
    flags = ["--chat-template-content-format", "; touch /tmp/x $(id)"]
    cluster = planned(cr=builders.model_deployment(runtime={"extraArgs": flags}))
    (deployment,) = cluster.kind("Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    (value,) = (v["value"] for v in container["env"] if v["name"] == "BERTH_SERVER_CONFIG")
    config = ServerConfig.model_validate_json(value)
    cpus = Cpus(ids=(0,), count=1)
    assert args.command(config.engines[0], config, "/model", cpus).argv[-2:] == flags


def test_bad_input_17_an_engine_with_known_weaknesses() -> None:
    image = "vllm/vllm-openai:v0.18.1"
    cr = builders.model_deployment(accelerators=ON_H100, runtime={"image": image})
    reason, message = refused(ClusterOfOne(cr=cr))
    assert reason == "EngineVulnerable"
    assert f"spec.runtime.image {image}: vLLM 0.18.1 is older than 0.19" in message
    assert "CVE-" in message
    assert "Fix: use an image of vLLM 0.19.0 or newer, or have an administrator set" in message


def test_bad_input_17_an_image_that_cannot_be_pulled() -> None:
    cluster = planned()
    said = 'failed to resolve reference "example.test/image:1": not found'
    cluster.serve(ready=False, containers=[builders.waiting("engine", "ErrImagePull", said)])
    reason, message = told(cluster)
    assert reason == "ImagePullFailed"
    assert f"example.test/image:1: {said}" in message
    assert "Fix: mend the image's name, or add spec.podTemplate.imagePullSecrets" in message


@pytest.mark.parametrize(
    ("said", "reason", "fix"),
    [
        (
            (
                'pods "smollm2-x" is forbidden: exceeded quota: gpus, requested: '
                "requests.nvidia.com/gpu=1, used: requests.nvidia.com/gpu=4, limited: "
                "requests.nvidia.com/gpu=4"
            ),
            "QuotaExceeded",
            "raise the quota, or ask for less",
        ),
        (
            (
                'pods "smollm2-x" is forbidden: maximum memory usage per Container is 4Gi, but limit '
                "is 6Gi"
            ),
            "Refused",
            "set spec.resources within the namespace's LimitRange, or change that",
        ),
        (
            (
                'pods "smollm2-x" is forbidden: violates PodSecurity "restricted:latest": '
                "allowPrivilegeEscalation != false"
            ),
            "PodSecurityDenied",
            "allow it in the namespace's pod security",
        ),
    ],
)
def test_bad_input_23_pods_that_the_namespace_does_not_allow(
    said: str, reason: str, fix: str
) -> None:
    cluster = planned()
    (deployment,) = cluster.kind("Deployment")
    failing = {"type": "ReplicaFailure", "status": "True", "message": said}
    deployment["status"] = {"conditions": [failing]}
    cluster.step()
    found, message = cluster.cr["status"]["reason"], cluster.cr["status"]["message"]
    assert (found, said in message) == (reason, True)
    assert f"Fix: {fix}" in message


def test_bad_input_23_a_job_that_the_namespace_does_not_allow() -> None:
    cluster = ClusterOfOne()
    said = 'jobs.batch "x" is forbidden: exceeded quota: jobs, requested: count/jobs.batch=1'
    cluster.known = {"refusals": (Refusal("Job", "x", said),)}
    reason, message = told(cluster)
    assert reason == "QuotaExceeded"
    assert f"Job x: {said}" in message
