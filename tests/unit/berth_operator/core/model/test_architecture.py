import engine_facts
import published
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from berth_api.shape import Failure, ShapeReport
from berth_operator.core.model import architecture
from berth_operator.core.model.shape import (
    CacheKind,
    Experts,
    ModelShape,
    Part,
    Quantization,
    Vision,
)
from berth_server import trim

LLAMA = published.load("llama-3.1-8b").config


def read(**changes):
    """The shape of Llama 3.1 8B with other keys; None removes one."""
    config = {key: value for key, value in (LLAMA | changes).items() if value is not None}
    return architecture.read(published.weighing(config))


@pytest.mark.parametrize("name", published.NAMES)
def test_published_models_are_known(name):
    assert published.shape(name).known


def test_a_model_that_is_not_known_is_still_read():
    found = read(model_type="novel", architectures=["NovelForCausalLM"])
    assert not found.known
    assert found.architecture == "NovelForCausalLM"
    assert found.layers == 32


@pytest.mark.parametrize(
    ("name", "tied"),
    [
        ("llama-3.1-8b", False),
        ("llama-3.2-1b", True),
        ("gemma-2-9b", True),
        ("falcon-7b", True),
        ("gpt2", True),
        ("qwen2.5-vl-7b", False),
    ],
)
def test_embeddings_are_tied_by_word_or_by_family(name, tied):
    assert published.shape(name).tied is tied


@pytest.mark.parametrize(
    ("name", "experts"),
    [
        ("llama-3.1-8b", None),
        ("mixtral-8x7b", Experts(8, 2, 14336)),
        ("qwen3-30b-a3b", Experts(128, 8, 768)),
        ("deepseek-v3", Experts(256, 8, 2048, 2048)),
        ("deepseek-v2-lite", Experts(64, 6, 1408, 2816)),
        ("qwen3-next-80b-a3b", Experts(512, 10, 512, 512)),
        ("gpt-oss-120b", Experts(128, 4, 2880)),
    ],
)
def test_mixtures_have_experts(name, experts):
    assert published.shape(name).experts == experts


@pytest.mark.parametrize(
    ("name", "intermediate"),
    [
        ("llama-3.1-8b", 14336),
        ("mixtral-8x7b", 0),
        ("deepseek-v3", 18432),
        ("jamba-mini", 14336),
        ("gpt2", 3072),
        ("falcon-7b", 4 * 4544),
    ],
)
def test_the_intermediate_size_is_of_dense_layers(name, intermediate):
    assert published.shape(name).intermediate == intermediate


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (None, None),
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, ("awq", 4, 128, None)),
        ({"quant_method": "gptq", "bits": 8}, ("gptq", 8, None, None)),
        (
            {"quant_method": "fp8", "weight_block_size": [128, 128]},
            ("fp8", 8, None, (128, 128)),
        ),
        ({"quant_method": "mxfp4"}, ("mxfp4", 4, 32, None)),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, ("bitsandbytes", 4, None, None)),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, ("bitsandbytes", 8, None, None)),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"group_0": {"weights": {"num_bits": 4, "group_size": 128}}},
            },
            ("compressed-tensors", 4, 128, None),
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {
                    "group_0": {"weights": {"num_bits": 8, "block_structure": [128, 128]}}
                },
            },
            ("compressed-tensors", 8, None, (128, 128)),
        ),
        (
            {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "NVFP4"}},
            ("modelopt", 4, 16, None),
        ),
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, ("modelopt", 8, None, None)),
        ({"quant_method": "novel"}, ("novel", 8, None, None)),
    ],
)
def test_quantisation_is_read_from_every_dialect(said, expected):
    found = read(quantization_config=said)
    assert found.quantization == (Quantization(*expected) if expected else None)


def test_minus_one_for_a_group_means_none():
    found = read(quantization_config={"quant_method": "gptq", "bits": 4, "group_size": -1})
    assert found.quantization == Quantization("gptq", 4)


@pytest.mark.parametrize(
    ("name", "vision"),
    [
        ("llama-3.1-8b", None),
        ("gemma-3-27b", (16, 27, 1152, 4304)),
        ("qwen2.5-vl-7b", (16, 32, 1280, 3420)),
        ("llama-4-scout", (16, 34, 1408, 5632)),
    ],
)
def test_a_tower_stands_beside_the_decoder(name, vision):
    found = published.shape(name).vision
    if vision is None:
        assert found is None
    else:
        assert isinstance(found, Vision)
        assert (found.heads, found.layers, found.hidden, found.intermediate) == vision


@pytest.mark.parametrize(
    ("name", "patches", "tokens"),
    [
        ("gemma-3-27b", 16, 256),  # 64 by 64 patches
        ("qwen2.5-vl-7b", 4, 16_384),
        ("llama-4-scout", 4, 16_384),
    ],
)
def test_a_pictures_patches_become_tokens(name, patches, tokens):
    found = published.shape(name).vision
    assert (found.patches_per_token, found.max_item_tokens) == (patches, tokens)


@pytest.mark.parametrize(
    ("config", "dtype"),
    [
        ({"torch_dtype": "float16"}, "float16"),
        ({"dtype": "float32", "torch_dtype": None}, "float32"),
        ({"torch_dtype": None}, "bfloat16"),
        ({"torch_dtype": "novel"}, "bfloat16"),
    ],
)
def test_the_dtype_is_config_jsons(config, dtype):
    assert read(**config).dtype == dtype


# Expected are the engine's answers (tests/engine/test_kv_cache.py asks it).
@pytest.mark.parametrize("name", engine_facts.CONTEXTS)
def test_the_longest_context_is_what_the_engine_allows(name):
    trimmed = published.weighing(trim.trim(engine_facts.context_config(name)))
    found = architecture.read(trimmed)
    assert isinstance(found, ModelShape)
    assert found.max_position == engine_facts.CONTEXTS[name][1]


def test_scaling_that_is_told_by_kind_of_layer_stretches_too():
    by_layer = {
        "full_attention": {"rope_type": "linear", "factor": 4.0},
        "sliding_attention": {"rope_type": "yarn", "factor": 2.0},
    }
    config = LLAMA | {"rope_scaling": None, "rope_parameters": by_layer}
    found = architecture.read(published.weighing(trim.trim(config)))
    assert found.max_position == 4 * LLAMA["max_position_embeddings"]


def test_gemma_3s_context_is_told_as_stretched():
    config = published.load("gemma-3-27b").config
    text = config["text_config"] | {"rope_scaling": {"rope_type": "linear", "factor": 8.0}}
    found = architecture.read(published.weighing(config | {"text_config": text}))
    assert found.max_position == published.shape("gemma-3-27b").max_position


@pytest.mark.parametrize("endless", [10**30, 1e30])
def test_a_length_that_stands_for_none_says_nothing(endless):
    assert read(model_max_length=endless).max_position == LLAMA["max_position_embeddings"]


@pytest.mark.parametrize("factor", ["8", True, -1, 0, 1e9, float("inf"), float("nan")])
def test_a_factor_that_cannot_be_is_none(factor):
    found = read(rope_scaling={"rope_type": "linear", "factor": factor})
    assert found.max_position == LLAMA["max_position_embeddings"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seq_length": 0}, "seq_length"),
        ({"max_position_embeddings": None}, "max_position_embeddings"),
        ({"hidden_size": None}, "hidden_size"),
        ({"hidden_size": 4}, "attention heads"),
        ({"num_hidden_layers": 0}, "num_hidden_layers"),
        ({"num_attention_heads": "many"}, "num_attention_heads"),
        ({"vocab_size": -1}, "vocab_size"),
        ({"max_position_embeddings": 2**40}, "max_position_embeddings"),
        ({"num_key_value_heads": 1.5}, "num_key_value_heads"),
        ({"sliding_window": "wide"}, "sliding_window"),
    ],
)
def test_a_failure_names_the_field_and_a_fix(changes, named):
    found = read(**changes)
    assert isinstance(found, Failure)
    assert found.reason == "ConfigUnreadable"
    assert named in found.message
    assert found.fix


def test_a_report_without_parts_is_split_evenly():
    found = architecture.read(ShapeReport(config=LLAMA, tensorBytes={"BF16": 10}))
    assert found.parts == {Part.LINEAR: {"BF16": 10}}


@pytest.mark.parametrize(
    "held",
    [
        {},
        {"tensorBytes": {"BF16": 0}},
        {"tensorBytes": {"BF16": 1}},
        {"tensorBytes": {"BF16": 9}, "parts": {"unused": {"BF16": 9}}},
    ],
)
def test_a_report_without_weights_is_refused(held):
    found = architecture.read(ShapeReport(config=LLAMA, **held))
    assert isinstance(found, Failure)
    assert found.reason == "ConfigUnreadable"
    assert "no bytes of weights" in found.message
    assert "total_size" in found.fix


def test_a_part_of_a_newer_server_is_split_evenly():
    report = ShapeReport(config=LLAMA, tensorBytes={"BF16": 10}, parts={"novel": {"BF16": 10}})
    assert architecture.read(report).parts == {Part.LINEAR: {"BF16": 10}}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**33) | st.floats() | st.sampled_from(["mamba"]),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)
KEYS = sorted({key for name in published.NAMES for key in published.load(name).config})


@settings(max_examples=150)
@given(st.sampled_from(published.NAMES), st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4))
def test_any_configuration_is_read_or_refused_with_a_fix(name, changes):
    found = architecture.read(published.weighing(published.load(name).config | changes))
    if isinstance(found, Failure):
        assert found.fix
    else:
        assert isinstance(found, ModelShape)
        assert all(layers.layers > 0 for layers in found.cache)
        assert all(layers.window > 0 for layers in found.cache if layers.kind is CacheKind.SLIDING)
