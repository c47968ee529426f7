"""A LoRA adapter's facts, from files that strangers made."""

import pytest

from berth_server import adapters
from berth_server.errors import SourceError
from berth_server.parts import Tensor

PREFIX = "base_model.model.model.layers.0"


def pair(module, rank=16, inputs=64, outputs=128):
    return [
        Tensor(f"{PREFIX}.{module}.lora_A.weight", "F32", (rank, inputs), 4 * rank * inputs),
        Tensor(f"{PREFIX}.{module}.lora_B.weight", "F32", (outputs, rank), 4 * rank * outputs),
    ]


def report(config=None, tensors=None):
    given = {"peft_type": "LORA", "r": 16} | (config or {})
    return adapters.report("hf://a/b", "c", given, tensors or pair("self_attn.q_proj"), 7)


def test_modules_are_told_by_their_last_word_with_their_largest_sides():
    found = report(tensors=[*pair("self_attn.q_proj"), *pair("self_attn.q_proj", outputs=256)])
    assert found.modules == {"q_proj": (64, 256)}


def test_the_rank_is_the_largest_that_anything_says():
    assert report({"r": 8}).rank == 16
    assert report({"rank_pattern": {"q_proj": 64}}).rank == 64
    assert report({"r": "16", "rank_pattern": [1]}).rank == 16


def test_what_makes_it_a_plain_lora_is_not_told():
    config = {"use_dora": False, "bias": "none", "init_lora_weights": True, "modules_to_save": None}
    assert report(config).extras == {}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("use_dora", True),
        ("bias", "all"),
        ("init_lora_weights", "pissa_niter_4"),
        ("modules_to_save", ["lm_head"]),
        ("layer_replication", [[0, 4]]),
    ],
)
def test_what_makes_it_another_thing_is_told_with_its_value(key, value):
    assert report({key: value}).extras == {key: str(value)}


def test_a_tensor_of_no_lora_is_told_by_its_name():
    magnitude = Tensor(f"{PREFIX}.self_attn.q_proj.lora_magnitude_vector", "F32", (128,), 512)
    found = report(tensors=[*pair("self_attn.q_proj"), magnitude])
    assert found.extras == {"tensors": magnitude.name[:64]}


def test_experts_are_one_module_whatever_their_number():
    found = report(tensors=[*pair("mlp.experts.7.w1"), *pair("mlp.experts.8.w2")])
    assert found.modules == {"experts": (64, 128)}


def test_of_a_strangers_words_only_the_beginning_is_kept():
    found = report({"base_model_name_or_path": "x" * 10_000, "peft_type": 5})
    assert len(found.base) == 64
    assert found.kind == "LORA"


def test_files_that_adapt_nothing_or_everything_are_refused():
    for tensors in ([Tensor("x", "F32", (1,), 4)], [t for n in range(40) for t in pair(f"m{n}")]):
        with pytest.raises(SourceError, match="kinds of modules"):
            report(tensors=tensors)
