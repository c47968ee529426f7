"""Bad inputs that are refused before anything is stored or started: by the API server, or at start.

The numbers are those of docs/bad-inputs.md.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import builders
import chart
import pytest
import yaml
from clusterapi import Api
from modeldeployments import MINIMAL, changed
from operator_process import OperatorProcess

from berth_cli import model_file
from berth_cli.errors import InputError
from berth_operator.errors import ConfigurationError
from dev import progress
from dev.controlplane import ControlPlane
from dev.errors import CommandFailedError

FLAGS = "spec.runtime.extraArgs"
GPU_WITHOUT_SIZES = {"name": "any", "engineProfile": "vllm", "resource": "nvidia.com/gpu"}
START_SECONDS = 60.0  # what takes two here may take twenty on a busy machine

Refuses = Callable[[str, Any], str]


@pytest.fixture
def refuses(rehearsal: Api) -> Refuses:
    """What the API server says of the smallest object with one field changed."""

    def told(path: str, value: Any) -> str:
        refusal = rehearsal.refusal(changed(path, value))
        assert refusal, "it was taken"
        return refusal

    return told


def test_bad_input_01_fewer_replicas_at_most_than_at_least(
    refuses: Refuses, tmp_path: Path
) -> None:
    wrong = {"minReplicas": 5, "maxReplicas": 2}
    told = (
        "spec.scaling.minReplicas must be at most spec.scaling.maxReplicas (1 if left out); lower "
        "the one or raise the other"
    )
    assert told in refuses("spec.scaling", wrong)
    assert f"spec.scaling.minReplicas: 5: {told}" in of_the_terminal(
        "spec.scaling", wrong, tmp_path
    )


def of_the_terminal(path: str, value: Any, folder: Path) -> str:
    """What `berth plan` says of the same object."""
    file = folder / "model.yaml"
    file.write_text(yaml.safe_dump(changed(path, value)))
    with pytest.raises(InputError) as refused:
        model_file.read(file)
    return str(refused.value)


@pytest.mark.parametrize(
    ("replicas", "limit"),
    [(-1, "greater than or equal to 0"), (10**6, "less than or equal to 1000")],
)
def test_bad_input_02_replicas_out_of_all_proportion(
    refuses: Refuses, replicas: int, limit: str
) -> None:
    refusal = refuses("spec.replicas", replicas)
    assert f"Invalid value: {replicas}: spec.replicas in body should be {limit}" in refusal


@pytest.mark.parametrize("fraction", ["0", "0.0", "1.5", "90%"])
def test_bad_input_05_a_memory_fraction_that_is_none(refuses: Refuses, fraction: str) -> None:
    assert (
        f'spec.memory.gpuMemoryFraction "{fraction}" must be "auto" or a decimal above 0 and at '
        'most 1, in quotes: for example "0.9"'
    ) in refuses("spec.memory.gpuMemoryFraction", fraction)


def test_bad_input_05_a_memory_fraction_without_quotes(refuses: Refuses) -> None:
    assert 'spec.memory.gpuMemoryFraction in body must be of type string: "number"' in refuses(
        "spec.memory.gpuMemoryFraction", 0.9
    )


def test_bad_input_06_a_card_for_several_models(refuses: Refuses) -> None:
    assert ("spec.memory.sharing other than Exclusive is not served yet; leave it out") in refuses(
        "spec.memory.sharing", "Shared"
    )


@pytest.mark.parametrize(
    "source", ["", "Qwen/Qwen3", "hf://a b", "hf://../x", "http://a/b", "pvc://c//etc/../x y"]
)
def test_bad_input_09_a_source_that_names_no_model(refuses: Refuses, source: str) -> None:
    assert (
        f'spec.model.source "{source}" must be hf://<organisation>/<model>[@<revision>], '
        "oci://<image reference> or pvc://<claim>[/<folder>]"
    ) in refuses("spec.model.source", source)


def test_bad_input_09_a_source_of_5_kb(refuses: Refuses) -> None:
    assert "spec.model.source: Too long: may not be more than 512 bytes" in refuses(
        "spec.model.source", "hf://" + "x" * 5000
    )


@pytest.mark.parametrize("flag", ["--trust-remote-code", "--trust_remote_code", "--trust-rem"])
def test_bad_input_15_code_from_the_models_repository(refuses: Refuses, flag: str) -> None:
    assert (
        f"{FLAGS} must not hold --trust-remote-code: remove it: it lets a model or a request run "
        "code"
    ) in refuses(FLAGS, [flag])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--port=80"], "--port: remove it: Berth sets the engine's address"),
        (["--max_model_len", "4096"], "--max-model-len: set spec.runtime.maxModelLen"),
        (["--tensor-par=2"], "--tensor-parallel-size: set spec.parallelism.tensor"),
        (["--ssl-keyfile=/key"], "--ssl-*: remove it: TLS ends at the ingress"),
        (["-tp", "2"], "-tp: set spec.parallelism.tensor"),
    ],
    ids=["a flag of Berth's", "underscores", "an abbreviation", "a family", "a short flag"],
)
def test_bad_input_16_a_flag_that_berth_sets(
    refuses: Refuses, arguments: list[str], told: str
) -> None:
    assert f"{FLAGS} must not hold {told}" in refuses(FLAGS, arguments)


@pytest.mark.parametrize(
    "image", ["vllm/vllm-openai:latest", "vllm/vllm-openai", "registry.example:5000/vllm"]
)
def test_bad_input_17_an_image_that_may_change(refuses: Refuses, image: str) -> None:
    assert (
        f'spec.runtime.image "{image}" needs a version tag or a digest, not latest: pods of one '
        "revision must run one engine"
    ) in refuses("spec.runtime.image", image)


def test_bad_input_19_a_name_is_for_ever(api: Api) -> None:
    api.create(MINIMAL)
    name = MINIMAL["metadata"]["name"]
    renamed = MINIMAL | {"metadata": {"name": "another"}}
    with pytest.raises(CommandFailedError) as refused:
        api.kubectl("replace", "--raw", f"{api.path}/{name}", "-f", "-", stdin=json.dumps(renamed))
    assert f"the name of the object (another) does not match the name on the URL ({name})" in (
        refused.value.output
    )


def test_bad_input_19_no_field_of_a_spec_is_for_ever(api: Api) -> None:
    api.create(MINIMAL)
    other = {"spec": {"model": {"source": "oci://registry.example/models/other:1"}}}
    api.kubectl(
        *("patch", "mdep", MINIMAL["metadata"]["name"], "-n", api.namespace),
        *("--type=merge", f"--patch={json.dumps(other)}"),
    )


def test_bad_input_20_a_misspelt_field(refuses: Refuses, tmp_path: Path) -> None:
    assert 'strict decoding error: unknown field "spec.replcas"' in refuses("spec.replcas", 2)
    assert "spec.replcas: 2: there is no such field; write replicas" in of_the_terminal(
        "spec.replcas", 2, tmp_path
    )


@pytest.mark.parametrize("depth", [0, 100_001, "many"])
def test_bad_input_21_a_queue_depth_that_is_none(refuses: Refuses, depth: Any) -> None:
    assert (
        f'spec.scaling.targetQueueDepth "{depth}" must be "auto" or an integer from 1 to 100000'
    ) in refuses("spec.scaling.targetQueueDepth", depth)


def test_bad_input_21_a_time_in_words(refuses: Refuses) -> None:
    assert 'spec.scaling.scaleDownDelaySeconds in body must be of type integer: "string"' in (
        refuses("spec.scaling.scaleDownDelaySeconds", "5 minutes")
    )


def test_bad_input_21_a_time_to_keep_alive_in_words(refuses: Refuses) -> None:
    assert (
        'spec.keepAlive "5 minutes" must be a duration: for example "5m", "300", "0", or "-1" for '
        "ever"
    ) in refuses("spec.keepAlive", "5 minutes")


@pytest.mark.parametrize(
    ("seconds", "limit"),
    [(0, "greater than or equal to 1"), (3601, "less than or equal to 3600")],
)
def test_bad_input_22_a_drain_of_no_time_or_of_hours(
    refuses: Refuses, seconds: int, limit: str
) -> None:
    assert f"spec.rollout.drainTimeoutSeconds in body should be {limit}" in refuses(
        "spec.rollout.drainTimeoutSeconds", seconds
    )


def test_bad_input_22_a_name_from_which_no_childs_name_can_be_made(refuses: Refuses) -> None:
    assert (
        "metadata.name must be at most 40 characters: the names of Pods and Services are made from "
        "it; give clients a longer name with spec.model.name"
    ) in refuses("metadata.name", "m" * 41)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("replicas=2", "'replicas' not allowed"),
        ("operator.replicas=-1", "at '/operator/replicas': minimum: got -1, want 0"),
        ("auth.mode=Open", "at '/auth/mode': value must be one of 'Keys', 'None'"),
        ("engineProfiles.mine.image=a", "missing properties 'command', 'device'"),
    ],
)
def test_bad_input_25_a_value_that_the_chart_does_not_take(value: str, told: str) -> None:
    with pytest.raises(CommandFailedError) as refused:
        chart.render("--set", value)
    assert told in refused.value.output


def test_bad_input_25_a_cluster_that_is_too_old() -> None:
    with pytest.raises(CommandFailedError) as refused:
        chart.helm("template", "berth", chart.CHART, "--kube-version=v1.28.0")
    assert "requires kubeVersion: >=1.31" in refused.value.output


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[ControlPlane]:
    """A control plane of its own, without the definition."""
    with ControlPlane(tmp_path) as running:
        yield running


def test_bad_input_25_a_cluster_without_the_definition(bare: ControlPlane, tmp_path: Path) -> None:
    operator = OperatorProcess(bare.kubectl.kubeconfig, "default", tmp_path).start()
    progress.wait_for(
        "the operator's end", lambda: operator.exit_code() is not None, seconds=START_SECONDS
    )
    said = operator.log.read_text()
    assert operator.exit_code() == 2, said
    # Both kinds are asked for at once; whichever answer comes first is told.
    assert re.search(r"this cluster does not know model(deployments|pools)\.berth\.dev", said)
    assert "install the chart with crds.enabled" in said
    assert "Traceback" not in said


def test_bad_input_25_no_right_to_read_nodes_and_cards_that_only_nodes_describe() -> None:
    with pytest.raises(ConfigurationError) as refused:
        builders.configured(readNodes=False, acceleratorProfiles=[GPU_WITHOUT_SIZES])
    assert (
        "readNodes is false, so acceleratorProfiles must declare what nodes would say: any needs "
        "memory and gpusPerNode"
    ) in str(refused.value)


def test_bad_input_25_a_keys_file_that_cannot_be_read(tmp_path: Path) -> None:
    routes, keys = tmp_path / "routes.yaml", tmp_path / "keys"
    routes.write_text("- {model: llama, endpoints: ['http://127.0.0.1:1']}\n")
    keys.write_text("{sha256: short}\n")
    ended = subprocess.run(
        [sys.executable, "-m", "berth_gateway", "--routes", routes, "--keys", keys],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert f"berth_gateway: keys {keys}:1: sha256: String should match pattern" in line
    assert 'write {"sha256": "<64 hex digits>"' in line
