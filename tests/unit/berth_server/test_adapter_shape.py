"""The Job that reads adapters, against the stand-in hub and folders."""

import json

import pytest

from berth_api.server import AdaptersConfig, FetchConfig
from berth_server import adapter_shape, termination
from berth_server.errors import ConfigurationError
from standins import tiny_model

SIDES = {
    "q_proj": (64, 128),
    "v_proj": (64, 64),
    "gate_proj": (64, 128),
    "down_proj": (128, 64),
}


def ask(endpoint, *sources, directory="", token=""):
    wanted = [
        FetchConfig(source=source, directory=str(directory), token_secret="ns/hf[token]")
        for source in sources
    ]
    return adapter_shape.answer(wanted, {"HF_ENDPOINT": endpoint, "HF_TOKEN": token})


@pytest.fixture
def folder(tmp_path):
    for name, content in tiny_model.adapter(rank=4).items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_a_hubs_adapter_is_told_without_its_weights(endpoint, repositories):
    (found,) = ask(endpoint, "hf://berth/lora").reports(["hf://berth/lora"])
    assert found.commit == repositories["berth/lora"].commit
    assert (found.rank, found.base, found.extras) == (8, "berth/tiny", {})
    assert found.modules == SIDES
    assert found.fileBytes == sum(map(len, tiny_model.adapter().values()))


def test_a_folders_adapter_is_told_with_a_hash_of_what_decides(endpoint, folder):
    (found,) = ask(endpoint, "pvc://c/a", directory=folder).reports(["pvc://c/a"])
    assert (found.rank, found.modules) == (4, SIDES)
    assert found.commit.startswith("sha256:")
    (folder / "adapter_config.json").write_text('{"r": 4}')
    (changed,) = ask(endpoint, "pvc://c/a", directory=folder).reports(["pvc://c/a"])
    assert changed.commit != found.commit


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("lora-gated", "GatedModel"),
        ("lora-pickled", "NoSafetensors"),
        ("tiny", "ConfigUnreadable"),
        ("nope", "NotFound"),
        ("broken", "SourceUnreachable"),
    ],
)
def test_why_an_adapter_cannot_be_had_names_it_and_its_field(endpoint, name, reason):
    failure = ask(endpoint, "hf://berth/lora", f"hf://berth/{name}").failure
    assert failure.reason == reason
    assert failure.message.startswith(f"adapter hf://berth/{name}: ")
    assert "spec.model.source" not in failure.fix


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("adapter_config.json", b"{", "no JSON"),
        ("adapter_config.json", b"[]", "no JSON object"),
        ("adapter_model.safetensors", b"xx", "2 bytes"),
        ("adapter_model.safetensors", b"\x02" + b"\0" * 7 + b"[]", "no JSON object"),
    ],
)
def test_files_that_are_no_adapters_are_told_apart(endpoint, folder, file, content, said):
    (folder / file).write_bytes(content)
    failure = ask(endpoint, "pvc://c/a", directory=folder).failure
    assert failure.reason == "ConfigUnreadable"
    assert said in failure.message


def test_a_file_that_is_not_there_is_named(endpoint, folder):
    (folder / "adapter_model.safetensors").unlink()
    assert "adapter_model.safetensors" in ask(endpoint, "pvc://c", directory=folder).failure.message


def test_sixteen_fit_what_the_kubelet_keeps_of_one_of_four_containers(endpoint):
    found = ask(endpoint, *["hf://berth/lora"] * 16)
    assert found.failure is None
    assert len(termination.encode(found)) <= adapter_shape.MOST_BYTES


def test_an_answer_that_would_be_cut_is_a_failure_with_words(endpoint, monkeypatch):
    monkeypatch.setattr(adapter_shape, "MOST_BYTES", 64)
    assert "does not fit" in ask(endpoint, "hf://berth/lora").failure.message


def test_a_source_that_is_none_is_a_mistake_of_the_operator(endpoint):
    with pytest.raises(ConfigurationError):
        ask(endpoint, "nonsense")


def test_the_job_writes_its_last_words(endpoint, tmp_path, monkeypatch):
    config = AdaptersConfig(adapters=[FetchConfig(source="hf://berth/lora", directory="")])
    monkeypatch.setenv("BERTH_ADAPTERS_CONFIG", config.wire())
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    monkeypatch.setattr("sys.argv", ["adapter_shape", str(tmp_path / "log")])
    assert adapter_shape.main() == 0
    assert json.loads((tmp_path / "log").read_text())["rows"][0]["rank"] == 8


def test_a_job_without_a_configuration_says_so(monkeypatch, tmp_path):
    monkeypatch.delenv("BERTH_ADAPTERS_CONFIG", raising=False)
    monkeypatch.setattr("sys.argv", ["adapter_shape", str(tmp_path / "log")])
    assert adapter_shape.main() == 2
