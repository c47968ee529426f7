"""A ModelDeployment from a file: each refusal names the field, the value and the fix."""

import io

import builders
import modeldeployments
import pytest
import yaml

from berth_cli import model_file
from berth_cli.documents import STANDARD_INPUT
from berth_cli.errors import InputError


@pytest.fixture
def file(tmp_path):
    def written(*documents):
        path = tmp_path / "model.yaml"
        texts = (one if isinstance(one, str) else yaml.safe_dump(one) for one in documents)
        path.write_text("\n---\n".join(texts))
        return path

    return written


def refusal(path):
    with pytest.raises(InputError) as refused:
        model_file.read(path)
    return str(refused.value)


def test_what_was_never_applied_gets_an_identity(file):
    model = builders.model_deployment()
    model["metadata"] = {"name": "smollm2"}
    assert model_file.read(file(model))["metadata"] == {
        "name": "smollm2",
        "namespace": "default",
        "uid": "00000000-0000-0000-0000-000000000000",
    }


def test_what_comes_from_a_cluster_keeps_its_own(file):
    model = builders.model_deployment() | {"status": {"phase": "Serving", "newer": True}}
    assert model_file.read(file(model))["metadata"] == model["metadata"]


def test_other_objects_beside_it_are_left_alone(file):
    path = file({"kind": "Secret"}, builders.model_deployment(), "")
    assert model_file.read(path)["metadata"]["name"] == "smollm2"


def test_a_dash_is_standard_input(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(yaml.safe_dump(builders.model_deployment())))
    assert model_file.read(STANDARD_INPUT)["metadata"]["name"] == "smollm2"


@pytest.mark.parametrize("count", [0, 2])
def test_one_model_is_planned_at_a_time(file, count):
    path = file({"kind": "Secret"}, *[builders.model_deployment()] * count)
    assert f"-f {path}: {count} objects of kind ModelDeployment are in it" in refusal(path)


def test_no_yaml_is_told_with_its_line(file):
    assert "line 1" in refusal(file("a: [b"))


def test_bytes_that_are_no_text_are_told(tmp_path):
    path = tmp_path / "model.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    assert f"-f {path}: " in refusal(path)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (
            {"runtime": {"maxModelLength": 8}},
            "spec.runtime.maxModelLength: 8: there is no such field; write maxModelLen",
        ),
        (
            {"runtime": {"maxModelLen": "lots"}},
            "spec.runtime.maxModelLen: 'lots': must be \"auto\" or an integer from 1 to 16777216",
        ),
        (
            {"runtime": {"minConcurrency": 0}},
            "spec.runtime.minConcurrency: 0: must be an integer from 1 to 65536",
        ),
        (
            {"accelerators": [{"profil": "a"}]},
            "spec.accelerators[0].profil: 'a': there is no such field; write profile",
        ),
        ({"accelerators": [{}]}, "spec.accelerators[0].profile: is missing: must be lower-case"),
        (
            {"accelerators": [{"profile": "H_100"}]},
            "spec.accelerators[0].profile: 'H_100': must be lower-case",
        ),
        (
            {"memory": {"gpuMemoryFraction": 0.9}},
            'spec.memory.gpuMemoryFraction: 0.9: must be "auto" or a decimal',
        ),
        ({"resources": {"memory": "lots"}}, "spec.resources.memory: 'lots': must be a quantity"),
        ({"model": {}}, "spec.model.source: is missing: must be hf://"),
        ({"model": {"source": "http://x/y"}}, "spec.model.source: 'http://x/y': must be hf://"),
        ({"model": {"source": "x" * 600}}, "xxx…: must be hf://"),
        ({"replicas": 1001}, "spec.replicas: 1001: must be an integer from 0 to 1000"),
        (
            {"replicas": "8"},
            "spec.replicas: '8': must be an integer from 0 to 1000; without quotes",
        ),
        ({"replicas": "2024-13-45"}, "spec.replicas: '2024-13-45': must be an integer"),
        (
            {"parallelism": {"tensor": "4"}},
            "spec.parallelism.tensor: '4': must be \"auto\" or an integer from 1 to 1024; without",
        ),
        ({"parallelism": {"tensor": True}}, "spec.parallelism.tensor: True: must be"),
        ({"paused": "yes"}, "spec.paused: 'yes': Input should be a valid boolean"),
        ({"podTemplate": {"nodeSelector": {"a": 5}}}, "nodeSelector.a: 5: Input should be a valid"),
        (
            {"memory": {"sharing": "Shared"}},
            "spec.memory: {'sharing': 'Shared'}: spec.memory.sharing other than Exclusive is not ser",
        ),
        (
            {"evictable": False},
            "spec.evictable: False: spec.evictable is for the models of a pool; set",
        ),
    ],
)
def test_a_wrong_field_is_named_with_its_value_and_the_fix(file, spec, said):
    assert said in refusal(file(builders.model_deployment(**spec)))


@pytest.mark.parametrize(
    "model", [modeldeployments.MINIMAL, modeldeployments.FULL, modeldeployments.POOLED]
)
def test_a_valid_model_is_taken(file, model):
    assert model_file.read(file(model))["spec"] == model["spec"]


@pytest.mark.parametrize("status", [None, 5, {"phase": "Serving", "conditions": 7}])
def test_a_status_is_left_out_as_the_api_server_leaves_it_out(file, status):
    assert "status" not in model_file.read(file(builders.model_deployment() | {"status": status}))


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"name": "UPPER_x/.."}, "metadata.name: 'UPPER_x/..': metadata.name must be lower-case"),
        ({"name": "a" * 300}, "…: metadata.name must be at most 40 characters"),
        ({"name": "a", "namespace": None}, "metadata.namespace: 'null': must be at most 63"),
        ({"name": "a", "labels": 5}, "metadata.labels: 5: must be a mapping of names to text"),
    ],
)
def test_metadata_that_kubernetes_refuses_is_named_with_the_fix(file, metadata, said):
    assert said in refusal(file(builders.model_deployment() | {"metadata": metadata}))


def test_a_large_value_is_shown_by_its_beginning(file):
    wide = builders.model_deployment(accelerators=[["x" * 1000] * 1000] * 1000)
    assert max(len(line) for line in refusal(file(wide)).splitlines()) < 400


def test_all_that_is_wrong_is_told_at_once(file):
    wrong = builders.model_deployment(replicas=-1, runtime={"dtype": "int4"})
    wrong |= {"apiVersion": "berth.dev/v2", "metadata": {}}
    lines = refusal(file(wrong)).splitlines()
    assert [line.split(": ")[1] for line in lines] == [
        "apiVersion",
        "metadata.name",
        "spec.runtime.dtype",
        "spec.replicas",
    ]
