"""Where a shape comes from, and what is said where none can be had."""

import json
import sys

import builders
import pytest

from berth_api.spec import Adapter
from berth_cli import shapes
from berth_cli.errors import InputError
from standins import hub, hub_server, tiny_model

SOURCE = "hf://berth/tiny"


@pytest.fixture
def answer(tmp_path):
    def written(content):
        path = tmp_path / "shape.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return written


@pytest.fixture
def folder(tmp_path):
    for name, content in tiny_model.files().items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_a_jobs_answer_is_read_as_it_is(answer):
    found = shapes.read(SOURCE, answer(dict(builders.SMOLLM2_REPORT)), {})
    assert found.tensorBytes == builders.SMOLLM2_REPORT["tensorBytes"]


def test_a_folder_is_read_as_the_shape_job_reads_it(folder):
    found = shapes.read("oci://example.test/tiny:1", folder, {})
    assert found.tensorBytes == {"BF16": tiny_model.total_bytes()}


def test_a_hubs_model_is_read_as_the_shape_job_reads_it():
    with hub_server.served(hub.repositories()) as endpoint:
        found = shapes.read(SOURCE, None, {"HF_ENDPOINT": endpoint})
    assert found.tensorBytes == {"BF16": tiny_model.total_bytes()}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not JSON: .*; give a shape Job's answer, or the model's folder"),
        ("[]", "no shape Job's answer"),
        ("[" * 100_000 + "]" * 100_000, "more than 64 lists and mappings"),
        (
            json.dumps({"config": {"rope_scaling": 0}}).replace("0", "[" * 900 + "]" * 900),
            "more than",
        ),
        ({"config": {"architectures": ["\ud800"]}}, "text that is no Unicode"),
        ({"hidden_size": 1}, "for a config.json or an index of safetensors give the folder"),
        ({"config": 7}, "config"),
        (
            {"failure": {"reason": "GatedModel", "message": "asked for", "fix": "ask for access"}},
            "GatedModel: asked for; ask for access",
        ),
    ],
)
def test_an_answer_without_a_shape_is_refused(answer, content, said):
    path = answer(content)
    with pytest.raises(InputError, match=f"--shape {path}: .*{said}"):
        shapes.read(SOURCE, path, {})


def test_a_folder_whose_configuration_is_no_unicode_is_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["\ud800"]}))
    with pytest.raises(InputError, match=f"--shape {folder}: "):
        shapes.read(SOURCE, folder, {})


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(InputError, match=f"--shape {tmp_path}: .*no config.json"):
        shapes.read(SOURCE, tmp_path, {})


@pytest.mark.parametrize("source", ["oci://example.test/tiny:1", "pvc://models/tiny"])
def test_a_source_that_only_a_cluster_can_read_needs_a_shape(source):
    with pytest.raises(InputError, match=f"spec.model.source: {source}: .*give --shape"):
        shapes.read(source, None, {})


def test_a_hub_that_refuses_is_told_with_its_reason():
    said = r"hf://berth/gated: GatedModel: .*or give --shape"
    with (
        hub_server.served(hub.repositories()) as endpoint,
        pytest.raises(InputError, match=said),
    ):
        shapes.read("hf://berth/gated", None, {"HF_ENDPOINT": endpoint})


def test_an_answer_needs_no_hub_library(answer, monkeypatch):
    monkeypatch.setitem(sys.modules, "berth_server.shape", None)
    assert shapes.read(SOURCE, answer(dict(builders.SMOLLM2_REPORT)), {}).tensorCount == 272


def test_a_missing_hub_library_is_named_with_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for name in ("shape", "hub", "fetch", "request"):
        monkeypatch.delitem(sys.modules, f"berth_server.{name}", raising=False)
        monkeypatch.delattr(f"berth_server.{name}", raising=False)
    with pytest.raises(
        InputError, match="huggingface_hub is not installed; install Berth with its extra fetch"
    ):
        shapes.read(SOURCE, folder, {})


def adapters(*sources):
    return [Adapter(name=f"a{place}", source=source) for place, source in enumerate(sources)]


def test_a_hubs_adapter_is_read_as_the_operators_job_reads_it():
    with hub_server.served(hub.repositories()) as endpoint:
        found = shapes.read_adapters(adapters("hf://berth/lora"), {"HF_ENDPOINT": endpoint})
    assert found["hf://berth/lora"].rank == 8


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("pvc://claim/sql", "spec.adapters: a0: pvc://claim/sql: only hf:// sources are read"),
        ("hf://berth/lora-gated", "spec.adapters: a0: GatedModel: adapter hf://berth/lora-gated"),
    ],
)
def test_an_adapter_that_is_not_read_here_is_told_by_its_name(source, said):
    with (
        hub_server.served(hub.repositories()) as endpoint,
        pytest.raises(InputError, match=said),
    ):
        shapes.read_adapters(adapters(source), {"HF_ENDPOINT": endpoint})
