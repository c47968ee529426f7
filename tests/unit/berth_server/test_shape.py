import json
import struct

import pytest

from berth_api.server import FetchConfig
from berth_server import shape, termination, weights
from berth_server.errors import ConfigurationError, SourceError
from standins import tiny_model


def ask(source, endpoint, directory="", token=""):
    config = FetchConfig(source=source, directory=str(directory), token_secret="ns/hf[token]")
    return shape.report(config, {"HF_ENDPOINT": endpoint, "HF_TOKEN": token})


@pytest.mark.parametrize("name", ["tiny", "sharded"])
def test_a_hubs_model_has_a_shape(endpoint, repositories, name):
    found = ask(f"hf://berth/{name}", endpoint)
    assert found.failure is None
    assert found.commit == repositories[f"berth/{name}"].commit
    assert found.tensorBytes == {"BF16": tiny_model.total_bytes()}
    assert found.tensorCount == len(tiny_model.shapes())
    assert found.config["num_key_value_heads"] == tiny_model.KV_HEADS


def test_the_bytes_are_those_that_will_be_fetched(endpoint):
    files = tiny_model.files()
    expected = sum(len(content) for name, content in files.items() if name != "README.md")
    assert ask("hf://berth/tiny", endpoint).fileBytes == expected


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gated", "GatedModel"),
        ("nope", "NotFound"),
        ("pickles", "NoSafetensors"),
        ("hostile", "ConfigUnreadable"),
        ("broken", "SourceUnreachable"),
    ],
)
def test_why_there_is_no_shape_is_in_the_report(endpoint, name, reason):
    found = ask(f"hf://berth/{name}", endpoint)
    assert found.failure.reason == reason
    assert len(termination.encode(found)) <= termination.MAX_BYTES


@pytest.fixture
def folder(tmp_path):
    found = tmp_path / "models" / "tiny"
    found.mkdir(parents=True)
    for name, content in tiny_model.files().items():
        (found / name).write_bytes(content)
    return found


def test_a_folder_has_the_same_shape_as_the_hub(folder, tmp_path, endpoint):
    local = ask("pvc://models/tiny", endpoint, tmp_path)
    remote = ask("hf://berth/tiny", endpoint)
    assert local.commit.startswith("sha256:")
    assert local.model_copy(update={"commit": ""}) == remote.model_copy(update={"commit": ""})


def test_weights_that_are_cut_after_their_header_have_the_same_shape(folder, tmp_path, endpoint):
    before = ask("oci://registry/tiny:1", endpoint, tmp_path)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:8192])
    assert ask("oci://registry/tiny:1", endpoint, tmp_path) == before


def test_the_parts_add_up_to_the_weights(endpoint):
    found = ask("hf://berth/tiny", endpoint)
    assert sum(sum(sizes.values()) for sizes in found.parts.values()) == tiny_model.total_bytes()


@pytest.fixture
def index_only(tmp_path):
    index = {"metadata": {"total_size": 4242}, "weight_map": {"a": "m-1.safetensors"}}
    (tmp_path / "config.json").write_text(json.dumps(tiny_model.CONFIG))
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    return tmp_path


def test_an_index_alone_gives_the_total(index_only):
    found = shape.from_folder(index_only)
    assert found.failure is None
    assert (found.tensorBytes, found.fileBytes) == ({"BF16": 4242}, 4242)
    assert found.parts == {}


def test_an_index_may_give_the_total_and_no_files(index_only):
    (index_only / "model.safetensors.index.json").write_text('{"metadata": {"total_size": 4242}}')
    assert shape.from_folder(index_only).tensorBytes == {"BF16": 4242}
    with pytest.raises(SourceError, match="no weights at all"):
        shape.from_folder(index_only, whole=True)


@pytest.mark.parametrize("header", ["{}", '{"__metadata__": {"format": "pt"}}'])
def test_headers_without_a_tensor_are_unreadable(folder, tmp_path, endpoint, header):
    content = len(header).to_bytes(8, "little") + header.encode()
    (folder / "model.safetensors").write_bytes(content)
    found = ask("pvc://models", endpoint, tmp_path)
    assert found.failure.reason == "ConfigUnreadable"
    assert "no byte of weights" in found.failure.message


def test_files_that_are_larger_together_than_can_be_are_unreadable(folder, tmp_path, endpoint):
    (folder / "model.safetensors").unlink()
    for shard in "ab":
        entry = {"dtype": "I8", "shape": [2**53 - 1], "data_offsets": [0, 2**53 - 1]}
        header = json.dumps({shard: entry}).encode()
        content = len(header).to_bytes(8, "little") + header
        (folder / f"model-{shard}.safetensors").write_bytes(content)
    found = ask("pvc://models", endpoint, tmp_path)
    assert found.failure.reason == "ConfigUnreadable"
    assert "bytes" in found.failure.message


def test_the_total_of_quantised_tensors_is_not_cast(index_only):
    config = tiny_model.CONFIG | {"quantization_config": {"quant_method": "fp8"}}
    (index_only / "config.json").write_text(json.dumps(config))
    assert shape.from_folder(index_only).tensorBytes == {"U8": 4242}


@pytest.mark.parametrize("dtype", ["bfloat16", ["bfloat16"], {}, 7, None])
def test_any_dtype_of_a_stranger_has_a_size(index_only, dtype):
    config = tiny_model.CONFIG | {"torch_dtype": dtype, "text_config": dtype}
    (index_only / "config.json").write_text(json.dumps(config))
    assert list(shape.from_folder(index_only).tensorBytes) == ["BF16"]


def test_an_index_without_a_total_is_unreadable(index_only):
    (index_only / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"a": "m-1.safetensors"}})
    )
    with pytest.raises(SourceError, match="total_size"):
        shape.from_folder(index_only)


def test_a_job_wants_the_weights_themselves(index_only, endpoint):
    found = ask("pvc://models", endpoint, index_only)
    assert found.failure.reason == "NoSafetensors"
    assert "m-1.safetensors" in found.failure.message


def test_the_content_hash_follows_the_content(folder, tmp_path, endpoint):
    before = ask("pvc://models", endpoint, tmp_path).commit
    (folder / "config.json").write_text(json.dumps(tiny_model.CONFIG | {"head_dim": 32}))
    assert ask("pvc://models", endpoint, tmp_path).commit != before


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("config.json", b"{", "ConfigUnreadable"),
        ("config.json", b"[]", "ConfigUnreadable"),
        ("config.json", b"[" * 100_000, "ConfigUnreadable"),
        ("model.safetensors", b"", "ConfigUnreadable"),
        ("model.safetensors", b"\x10" + b"\0" * 7 + b"{}", "ConfigUnreadable"),
    ],
)
def test_damaged_files_are_typed(folder, tmp_path, endpoint, name, content, reason):
    (folder / name).write_bytes(content)
    assert ask("pvc://models", endpoint, tmp_path).failure.reason == reason


def test_an_empty_folder_is_not_found(tmp_path, endpoint):
    assert ask("pvc://models", endpoint, tmp_path).failure.reason == "NotFound"


def test_a_large_configuration_is_cut_to_the_message(folder, tmp_path, endpoint):
    sections = {name: {"text_config": {"auto_map": "x" * 500}} for name in ("vision_config",)}
    kinds = {"layer_types": [f"kind-{number}-{'x' * 120}" for number in range(64)]}
    towers = {"audio_config": {"architectures": ["y" * 128] * 8} | sections}
    config = tiny_model.CONFIG | sections | kinds | towers
    config |= {"vision_config": {"architectures": ["z" * 128] * 8, "auto_map": "v" * 128}}
    (folder / "config.json").write_text(json.dumps(config))
    found = ask("pvc://models", endpoint, tmp_path)
    assert len(termination.encode(found)) <= termination.MAX_BYTES
    assert found.config["hidden_size"] == tiny_model.HIDDEN


def test_headers_that_would_fill_the_memory_together_are_not_read(folder, tmp_path, endpoint):
    for number in range(2):
        with (folder / f"more-{number}.safetensors").open("wb") as file:
            file.write(struct.pack("<Q", weights.MAX_HEADER_BYTES))
            file.truncate(weights.MAX_HEADER_BYTES + weights.LENGTH_BYTES)
    failure = ask("pvc://models", endpoint, tmp_path).failure
    assert failure.reason == "ConfigUnreadable"
    assert f"and at most {weights.MAX_HEADER_BYTES} are read" in failure.message


def test_a_source_that_is_none_is_the_operators_mistake(endpoint):
    with pytest.raises(ConfigurationError):
        ask("ftp://x", endpoint)


def test_the_report_is_written_and_the_job_ends_well(endpoint, tmp_path, monkeypatch, capsys):
    config = FetchConfig(source="hf://berth/gated", directory="")
    monkeypatch.setenv("BERTH_FETCH_CONFIG", config.wire())
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(shape.sys, "argv", ["shape", str(tmp_path / "log")])
    assert shape.main() == 0
    assert json.loads((tmp_path / "log").read_text())["failure"]["reason"] == "GatedModel"
