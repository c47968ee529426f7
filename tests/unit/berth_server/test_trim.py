import json

import published
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from berth_api.shape import ShapeReport
from berth_operator.core.model import architecture
from berth_server import termination, trim
from standins import tiny_model


def test_what_decides_memory_is_kept_and_the_rest_is_not():
    found = trim.trim(tiny_model.CONFIG | {"initializer_range": 0.02, "_name_or_path": "x"})
    assert found["hidden_size"] == tiny_model.HIDDEN
    assert found["architectures"] == ["LlamaForCausalLM"]
    assert found.keys().isdisjoint({"initializer_range", "_name_or_path", "rms_norm_eps"})


def test_sections_are_kept_within_sections():
    config = {
        "text_config": {"num_hidden_layers": 3, "rope_scaling": {"factor": 8.0, "beta": 1}},
        "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]},
        "vision_config": {"depth": 27, "blob": "x"},
    }
    assert trim.trim(config) == {
        "text_config": {"num_hidden_layers": 3, "rope_scaling": {"factor": 8.0}},
        "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]},
        "vision_config": {"depth": 27},
    }


def test_a_long_list_of_layer_kinds_becomes_a_count_of_each():
    kinds = ["sliding_attention"] * 40 + ["full_attention"] * 8
    assert trim.trim({"layer_types": kinds})["layer_types"] == {
        "sliding_attention": 40,
        "full_attention": 8,
    }


def test_shorter_versions_say_what_they_lack():
    config = {"hidden_size": 1, "vision_config": {"depth": 2}, "layer_types": ["a"]}
    versions = list(trim.shorter(config))
    assert versions[0] == {"hidden_size": 1, "layer_types": ["a"], "_dropped": ["vision_config"]}
    assert versions[-1] == {"hidden_size": 1, "_dropped": ["vision_config", "layer_types"]}


@pytest.mark.parametrize("name", published.NAMES)
def test_nothing_that_decides_is_lost(name):
    whole = ShapeReport(config=published.load(name).config)
    trimmed = ShapeReport(config=trim.trim(whole.config))
    assert architecture.read(trimmed) == architecture.read(whole)


@pytest.mark.parametrize("name", published.NAMES)
def test_published_models_fit_a_message_uncut(name):
    assert len(termination.encode(published.report(name))) <= termination.MAX_BYTES


def test_layers_for_drafts_are_not_counted():
    config = {"num_hidden_layers": 2, "layer_types": ["full_attention"] * 3}
    assert trim.trim(config)["layer_types"] == ["full_attention"] * 2


KEYS = st.sampled_from([*trim._SECTIONS, "hidden_size", "layer_types", "auto_map", "junk"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=12) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=40)
@given(st.dictionaries(KEYS, JSON, max_size=4))
def test_any_configuration_is_trimmed_to_plain_json(config):
    json.dumps(trim.trim(config))
