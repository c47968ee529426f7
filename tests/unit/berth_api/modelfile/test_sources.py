"""FROM and ADAPTER: a source that the fetcher knows, or what to write instead."""

import pytest

from berth_api import source
from berth_api.modelfile import sources
from berth_api.modelfile.said import Part, Problem


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("hf://Qwen/Qwen3-8B", "hf://Qwen/Qwen3-8B"),
        ("hf://Qwen/Qwen3-8B@main", "hf://Qwen/Qwen3-8B@main"),
        ("hf.co/Qwen/Qwen3-8B", "hf://Qwen/Qwen3-8B"),
        ("hf.co/Qwen/Qwen3-8B:latest", "hf://Qwen/Qwen3-8B"),
        ("huggingface.co/Qwen/Qwen3-8B", "hf://Qwen/Qwen3-8B"),
        ("https://huggingface.co/Qwen/Qwen3-8B/", "hf://Qwen/Qwen3-8B"),
        ("oci://registry.example/models/smollm2:1", "oci://registry.example/models/smollm2:1"),
        ("registry.example/models/smollm2:1", "oci://registry.example/models/smollm2:1"),
        ("localhost:5000/smollm2:1", "oci://localhost:5000/smollm2:1"),
        ("pvc://models/qwen3", "pvc://models/qwen3"),
    ],
)
def test_from_becomes_a_source_that_is_read(given, found):
    assert sources.of_model(given) == Part(("model", "source"), found)
    source.parse(found)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "it names nothing; write hf://organisation/model"),
        ("llama3.2", "for example hf://meta-llama/Llama-3.2-3B-Instruct for llama3.2"),
        ("user/model:7b", "no ModelDeployment has this name"),
        ("registry.ollama.ai/library/qwen3", "what Ollama's library has under it is GGUF"),
        ("hf.co/bartowski/Llama-3.2-1B-GGUF:Q4_K_M", "this is GGUF, and the engine serves"),
        ("hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF", "write the repository that it was made"),
        ("hf://a/b-gguf@main", "this is GGUF"),
        ("./model.gguf", "which pods do not see"),
        ("model.GGUF", "which pods do not see"),
        ("/srv/models/qwen3", "put a folder with safetensors on a claim"),
        ("C:\\models\\x.gguf", "which pods do not see"),
        ("~/models", "which pods do not see"),
        (".", "which pods do not see"),
        ("s3://bucket/model", "no model source; write hf://organisation/model"),
        ("https://example.com/model", "no model source"),
        ("pvc://claim/../../etc", "no model source"),
    ],
)
def test_what_the_engine_cannot_serve_is_refused_with_what_to_write(given, said):
    found = sources.of_model(given)
    assert isinstance(found, Problem)
    assert found.text.startswith(f"FROM {given}: ")
    assert said in found.text


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("hf://org/sql-lora@v1", "sql-lora"),
        ("hf.co/org/sql-lora", "sql-lora"),
        ("pvc://adapters/sql/", "sql"),
    ],
)
def test_an_adapter_is_called_by_the_end_of_its_source(given, name):
    found = sources.of_adapter(given)
    assert isinstance(found, Part)
    assert found.value[0]["name"] == name


@pytest.mark.parametrize("given", ["./lora.gguf", "lora.safetensors", "llama3.2", "oci://a/b"])
def test_an_adapter_from_elsewhere_is_refused(given):
    found = sources.of_adapter(given)
    assert isinstance(found, Problem)
    assert "write ADAPTER hf://organisation/adapter, or pvc://claim/folder" in found.text
