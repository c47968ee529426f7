"""Which nodes a model is put on, with the real API server and scheduler and nodes that are only said."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import gpu_nodes
import pytest
import yaml
from gpu_nodes import GpuNode
from operator_process import Models, OperatorProcess, account_kubeconfig, chart_rights

from berth_api import names
from dev.kubectl import Kubectl

Object = dict[str, Any]
Start = Callable[..., OperatorProcess]
REFUSAL_SECONDS = 5.0  # from the apply to the status
FALLBACK_SECONDS = 5

POOL = "example.test/pool"  # tells this test's nodes from those of others


def decoder(**config: int) -> Object:
    common = {"architectures": ["LlamaForCausalLM"], "torch_dtype": "bfloat16"}
    return {**common, **config}


LLAMA_8B = {
    "commit": "8b",
    "config": decoder(
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        hidden_size=4096,
        intermediate_size=14336,
        vocab_size=128256,
        max_position_embeddings=131072,
    ),
    "tensorBytes": {"BF16": 16_060_522_496},
}
LLAMA_70B_FP8 = {
    "commit": "70b",
    "config": decoder(
        num_hidden_layers=80,
        num_attention_heads=64,
        num_key_value_heads=8,
        hidden_size=8192,
        intermediate_size=28672,
        vocab_size=128256,
        max_position_embeddings=131072,
    )
    | {"quantization_config": {"quant_method": "fp8"}},
    "tensorBytes": {"F8_E4M3": 68_451_041_280, "BF16": 4_204_863_488},
}
QWEN3_32B = {
    "commit": "32b",
    "config": decoder(
        num_hidden_layers=64,
        num_attention_heads=64,
        num_key_value_heads=8,
        head_dim=128,
        hidden_size=5120,
        intermediate_size=25600,
        vocab_size=151936,
        max_position_embeddings=40960,
    ),
    "tensorBytes": {"BF16": 65_524_246_528},
}


def profiles(namespace: str) -> list[Object]:
    """As an administrator would write them, smallest card first; `b200` has no node."""

    def gpu(name: str, product: str | None, **fields: Any) -> Object:
        selector = {POOL: namespace} | ({"nvidia.com/gpu.product": product} if product else {})
        base = {"name": name, "engineProfile": "vllm", "resource": "nvidia.com/gpu", "cpu": "1"}
        return base | {"nodeSelector": selector} | fields

    return [
        gpu("slice", None, resource="nvidia.com/mig-3g.40gb"),
        gpu("l4", "NVIDIA-L4"),
        gpu("l40s", "NVIDIA-L40S"),
        gpu("h100", "NVIDIA-H100-80GB-HBM3"),
        gpu("b200", "NVIDIA-B200", memory="180Gi", gpusPerNode=8),
        gpu("any", None),
    ]


NODES = (gpu_nodes.h100(), gpu_nodes.l40s(), gpu_nodes.l4(), gpu_nodes.mig_mixed())


@pytest.fixture
def models(kubectl: Kubectl, definition: None, namespace: str) -> Models:
    return Models(kubectl, namespace)


@pytest.fixture
def nodes(kubectl: Kubectl, namespace: str) -> Iterator[Callable[..., None]]:
    """Makes nodes that are ready and have no kubelet; they are gone after the test."""
    made: list[str] = []

    def make(*wanted: GpuNode) -> None:
        for one in wanted:
            body = one.body()
            name = f"{namespace}-{one.name}"
            body["metadata"] |= {"name": name, "labels": {**one.labels, POOL: namespace}}
            made.append(name)
            kubectl("create", "-f", "-", stdin=json.dumps(body))
            ready = {"type": "Ready", "status": "True", "reason": "Said"}
            status = {"status": body["status"] | {"conditions": [ready]}}
            patch = ("--subresource=status", "--type=merge", "-p", json.dumps(status))
            kubectl("patch", "node", name, *patch)

    yield make
    for name in made:
        kubectl("delete", "node", name, "--wait=false")


@pytest.fixture
def start(kubectl: Kubectl, namespace: str, tmp_path: Path) -> Iterator[Start]:
    rights = json.dumps({"apiVersion": "v1", "kind": "List", "items": chart_rights(namespace)})
    kubectl("apply", "-f", "-", stdin=rights)
    kubeconfig = account_kubeconfig(kubectl, namespace, tmp_path)
    started: list[OperatorProcess] = []

    def begin(fallback_seconds: int = 300) -> OperatorProcess:
        settings = {
            "acceleratorProfiles": profiles(namespace),
            "acceleratorFallbackSeconds": fallback_seconds,
        }
        one = OperatorProcess(kubeconfig, namespace, tmp_path, configured=settings)
        started.append(one.start())
        return one.wait_until_ready()

    yield begin
    for one in started:
        one.kill()
    kubectl("delete", "--ignore-not-found", "--wait=false", "-f", "-", stdin=rights)


def listed(*wanted: str) -> list[Object]:
    return [{"profile": name} for name in wanted]


def deployment(models: Models, name: str = "smol") -> Object:
    def there() -> bool:
        return any(kind == "Deployment" for kind, _ in models.children(name))

    models.wait_for(f"the Deployment of {name}", there)
    (found,) = (child for kind, child in models.children(name) if kind == "Deployment")
    return models.get("deployment", found)


def limits(found: Object) -> Object:
    container = found["spec"]["template"]["spec"]["containers"][0]
    asked: Object = container["resources"]["limits"]
    return asked


def engine_pods(models: Models) -> list[Object]:
    selector = f"{names.LABEL_ROLE}={names.ROLE_ENGINE}"
    arguments = ("get", "pods", "-l", selector, "-o", "json")
    answer = models.kubectl("--namespace", models.namespace, *arguments)
    pods: list[Object] = json.loads(answer)["items"]
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def node_of(models: Models) -> str | None:
    """The node's name without the test's; None while no pod has one."""
    placed = [pod["spec"]["nodeName"] for pod in engine_pods(models) if "nodeName" in pod["spec"]]
    return placed[0].removeprefix(f"{models.namespace}-") if placed else None


def seconds_until(models: Models, reason: str, begin: float, name: str = "smol") -> float:
    models.wait_for(reason, lambda: models.status(name).get("reason") == reason)
    return time.monotonic() - begin


# Model, profiles in order of preference, and what a person would choose.
CHOICES: dict[str, tuple[Mapping[str, Any], tuple[str, ...], str, str, int]] = {
    "8B goes to one small card": (LLAMA_8B, ("l4", "l40s", "h100"), "l4", "nvidia.com/gpu", 1),
    "8B goes to a slice where slices come first": (
        LLAMA_8B,
        ("slice", "h100"),
        "slice",
        "nvidia.com/mig-3g.40gb",
        1,
    ),
    "32B goes to two cards of 48 GB, for one slice or small card is too small": (
        QWEN3_32B,
        ("slice", "l4", "l40s", "h100"),
        "l40s",
        "nvidia.com/gpu",
        2,
    ),
    "70B in 8 bits goes to two cards of 80 GB": (
        LLAMA_70B_FP8,
        ("l4", "slice", "h100"),
        "h100",
        "nvidia.com/gpu",
        2,
    ),
    "a pool without nodes is asked for all the same": (
        LLAMA_70B_FP8,
        ("b200", "h100"),
        "b200",
        "nvidia.com/gpu",
        1,
    ),
}


@pytest.mark.parametrize(
    ("report", "wanted", "profile", "resource", "count"), CHOICES.values(), ids=CHOICES
)
def test_a_model_gets_the_cards_that_a_person_would_choose(
    models: Models,
    nodes: Callable[..., None],
    start: Start,
    *,
    report: Mapping[str, Any],
    wanted: tuple[str, ...],
    profile: str,
    resource: str,
    count: int,
) -> None:
    nodes(*NODES)
    start()
    models.create(accelerators=listed(*wanted))
    models.read_shape(report=report)
    found = deployment(models)
    assert limits(found)[resource] == str(count)
    models.wait_for("the plan", lambda: models.status().get("plan"))
    plan = models.status()["plan"]
    assert plan["accelerator"] == profile
    assert plan["tensorParallelSize"] == plan["gpusPerReplica"] == count
    earlier = wanted[: wanted.index(profile)]
    told = {lost["accelerator"]: lost["reason"] for lost in plan["alternatives"]}
    assert [name for name in earlier if "too much" in told[name]] == list(earlier)


def test_the_scheduler_finds_the_node_that_was_planned_for(
    models: Models, nodes: Callable[..., None], start: Start
) -> None:
    nodes(*NODES)
    start()
    models.create(accelerators=listed("any"))
    models.read_shape(report=LLAMA_8B)
    deployment(models)
    models.wait_for("a node", lambda: node_of(models))
    assert node_of(models) == "l4"


def test_an_accelerator_that_nothing_offers_is_refused_at_once(
    models: Models, nodes: Callable[..., None], start: Start
) -> None:
    nodes(gpu_nodes.l4())
    start()
    begin = time.monotonic()
    models.create(accelerators=listed("h100"))
    assert seconds_until(models, "InsufficientGPU", begin) < REFUSAL_SECONDS
    assert "no node offers nvidia.com/gpu" in models.status()["message"]
    assert not models.children()


def test_a_model_that_is_refused_for_want_of_nodes_is_planned_once_they_come(
    models: Models, nodes: Callable[..., None], start: Start
) -> None:
    start()
    models.create(accelerators=listed("l4"))
    models.wait_for("the refusal", lambda: models.status().get("reason") == "InsufficientGPU")
    nodes(gpu_nodes.l4())
    models.read_shape(report=LLAMA_8B)
    assert limits(deployment(models))["nvidia.com/gpu"] == "1"


def test_what_does_not_fit_is_refused_at_once_and_gets_no_pod(
    models: Models, nodes: Callable[..., None], start: Start
) -> None:
    nodes(*NODES)
    start()
    models.create(accelerators=listed("l4"))
    models.wait_for_children("Job")
    begin = time.monotonic()
    models.read_shape(report=QWEN3_32B)
    assert seconds_until(models, "DoesNotFit", begin) < REFUSAL_SECONDS
    assert "too much" in models.status()["message"]
    assert "Deployment" not in {kind for kind, _ in models.children()}
    assert engine_pods(models) == []


def test_a_change_that_does_not_fit_is_refused_at_once_and_the_model_stays_as_it_is(
    models: Models, nodes: Callable[..., None], start: Start
) -> None:
    nodes(*NODES)
    start()
    models.create(accelerators=listed("l4"))
    models.read_shape(report=LLAMA_8B)
    before = deployment(models)["metadata"]["name"]
    begin = time.monotonic()
    models.edit(names.PLURAL, "smol", {"spec": {"runtime": {"maxModelLen": 131072}}})
    assert seconds_until(models, "DoesNotFit", begin) < REFUSAL_SECONDS
    assert deployment(models)["metadata"]["name"] == before


def test_a_model_that_no_node_has_room_for_goes_to_the_next_accelerator(
    models: Models, nodes: Callable[..., None], start: Start
) -> None:
    nodes(gpu_nodes.l40s())
    start(FALLBACK_SECONDS)
    models.create(accelerators=listed("b200", "l40s"))
    models.read_shape(report=LLAMA_8B)
    models.wait_for(
        "the wait",
        lambda: (
            models.status().get("reason") == "InsufficientGPU"
            or models.status().get("reason") == "Unschedulable"
        ),
    )
    assert models.status()["plan"]["accelerator"] == "b200"
    assert f"l40s is tried after {FALLBACK_SECONDS} s" in models.status()["message"]
    models.wait_for("a node", lambda: node_of(models))
    assert node_of(models) == "l40s"
    models.wait_for("one pod", lambda: len(engine_pods(models)) == 1)
    plan = models.status()["plan"]
    assert plan["accelerator"] == "l40s"
    told = {lost["accelerator"]: lost["reason"] for lost in plan["alternatives"]}
    assert told["b200"] == f"no node had room for {FALLBACK_SECONDS} s"
    assert [kind for kind, _ in models.children()].count("Deployment") == 1
    models.wait_for("its event", lambda: "AcceleratorFallback" in models.events())
    assert models.events().count("AcceleratorFallback") == 1


def test_a_model_whose_last_accelerator_is_full_waits_there_and_says_so(
    models: Models, nodes: Callable[..., None], start: Start
) -> None:
    nodes(gpu_nodes.l4())
    start(FALLBACK_SECONDS)
    models.create(accelerators=listed("b200", "l4"), replicas=1)
    models.read_shape(report=LLAMA_8B)
    models.wait_for("a node", lambda: node_of(models) == "l4")
    models.create("second", accelerators=listed("b200", "l4"))
    models.read_shape("second", report=LLAMA_8B)
    said = "no other of spec.accelerators is left"
    models.wait_for(said, lambda: said in models.status("second").get("message", ""))
    assert models.status("second")["reason"] == "InsufficientGPU"
    assert models.status("second")["plan"]["accelerator"] == "l4"
    assert models.status()["plan"]["accelerator"] == "l4"


# What a person would choose, by pool: cards and the least context, or why it is refused.
KNOWN: dict[str, dict[str, tuple[int, int] | str]] = {
    "llama-3.1-8b": {
        "b200": (1, 131_072),
        "h100": (1, 131_072),
        "l40s": (1, 131_072),
        "l4": (1, 16_384),
        "slice": (1, 131_072),
    },
    "llama-3.1-70b-fp8": {
        "b200": (1, 131_072),
        "h100": (2, 131_072),
        "l40s": (2, 16_384),
        "l4": "DoesNotFit",
        "slice": "DoesNotFit",
    },
    "gpt-oss-120b": {
        "b200": (1, 131_072),
        "h100": (1, 65_536),
        "l40s": (2, 131_072),
        "l4": "DoesNotFit",
        "slice": "DoesNotFit",
    },
    "qwen3-32b": {
        "b200": (1, 40_960),
        "h100": (1, 32_768),
        "l40s": (2, 32_768),
        "l4": "DoesNotFit",
        "slice": "DoesNotFit",
    },
    "deepseek-v3": {
        "b200": (4, 32_768),
        "h100": "MultiNodeUnsupported",
        "l40s": "MultiNodeUnsupported",
        "l4": "DoesNotFit",
        "slice": "DoesNotFit",
    },
    "qwen2.5-vl-7b": {
        "b200": (1, 128_000),
        "h100": (1, 128_000),
        "l40s": (1, 128_000),
        "l4": (1, 32_768),
        "slice": (1, 65_536),
    },
    "qwen2.5-32b-awq": {
        "b200": (1, 32_768),
        "h100": (1, 32_768),
        "l40s": (1, 32_768),
        "l4": (1, 2_048),
        "slice": (1, 32_768),
    },
}
EXAMPLES = Path(__file__).parents[2] / "examples" / "plan"


def test_known_models_get_what_a_person_would_choose_on_every_pool(
    models: Models, nodes: Callable[..., None], start: Start
) -> None:
    """Planned for the largest first, so that its revision keeps the shape; each edit is answered."""
    nodes(*NODES)
    start()
    for model, pools in KNOWN.items():
        name = model.replace(".", "-")
        spec = yaml.safe_load((EXAMPLES / model / "model.yaml").read_text(encoding="utf-8"))["spec"]
        models.create(name, **spec | {"accelerators": listed(next(iter(pools)))})
        report = json.loads((EXAMPLES / model / "shape.json").read_text(encoding="utf-8"))
        models.read_shape(name, report)
        for pool, chosen in pools.items():
            models.edit(names.PLURAL, name, {"spec": {"accelerators": listed(pool)}})
            assert answer(models, name) == expected(pool, chosen, models.status(name)), model
        models.delete(names.PLURAL, name)


def answer(models: Models, name: str) -> Object | str:
    """The plan and the pod's request for the present generation, or the reason of the refusal."""
    generation = models.get(names.PLURAL, name)["metadata"]["generation"]

    def told() -> bool:
        status = models.status(name)
        planned = [c for c in status.get("conditions", []) if c["type"] == "Planned"]
        known = planned and planned[0]["status"] != "Unknown"
        return bool(known and status.get("observedGeneration") == generation)

    begin = time.monotonic()
    models.wait_for(f"an answer for {name}", told)
    assert time.monotonic() - begin < REFUSAL_SECONDS
    status = models.status(name)
    (planned,) = [c for c in status["conditions"] if c["type"] == "Planned"]
    if planned["status"] == "False":
        assert "Fix: " in status["message"]
        return str(planned["reason"])
    revision = names.revision_name(name, status["updateRevision"])
    asked = limits(models.get("deployment", revision))
    plan = status["plan"]
    cards = {key: value for key, value in asked.items() if key.startswith("nvidia.com/")}
    return {"accelerator": plan["accelerator"], "size": plan["tensorParallelSize"], "pod": cards}


def expected(pool: str, chosen: tuple[int, int] | str, status: Object) -> Object | str:
    if isinstance(chosen, str):
        return chosen
    cards, context = chosen
    assert status["plan"]["maxModelLen"] >= context
    resource = "nvidia.com/mig-3g.40gb" if pool == "slice" else "nvidia.com/gpu"
    return {"accelerator": pool, "size": cards, "pod": {resource: str(cards)}}
