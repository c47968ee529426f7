"""LoRA adapters: which are refused, and what slots for the others take.

That the bytes are the engine's own is tested in tests/engine/test_adapters.py.
"""

from dataclasses import replace

import planning
import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_api.adapters import AdapterReport
from berth_operator.core.model import adapters
from berth_operator.core.model.shape import Experts

LLAMA = planning.LLAMA_8B
SIDES = {
    "q_proj": (4096, 4096),
    "k_proj": (4096, 1024),
    "v_proj": (4096, 1024),
    "o_proj": (4096, 4096),
    "gate_proj": (4096, 14336),
    "up_proj": (4096, 14336),
    "down_proj": (14336, 4096),
}


def report(*modules, **told):
    sizes = {name: SIDES[name] for name in modules or ("q_proj", "v_proj")}
    known = {"commit": "c", "rank": 16, "fileBytes": 100, "modules": sizes}
    return AdapterReport(**{"source": "hf://a/b"} | known | told)


def slots(*modules, ranks=1, **told):
    found = adapters.of([report(*modules, **told)])
    return adapters.slot_bytes(found, LLAMA, "bfloat16", ranks)


def test_without_adapters_there_is_nothing_to_plan():
    assert adapters.of([]) is None


def test_a_slot_is_both_matrices_of_a_module_in_every_layer():
    assert slots("o_proj") == 16 * (4096 + 4096) * 32 * 2


def test_one_of_three_that_the_engine_keeps_as_one_has_slots_for_all_three():
    expected = 16 * (3 * 4096 + 4096 + 1024 + 1024) * 32 * 2
    assert slots("q_proj") == slots("v_proj") == slots("q_proj", "k_proj", "v_proj") == expected


def test_ranks_share_what_the_engine_splits_and_no_more():
    halves = 16 * (3 * 4096 + 2048 + 512 + 512) * 32 * 2
    assert slots("q_proj", ranks=2) == halves
    # Eight KV heads: on sixteen ranks each still has one.
    assert slots("k_proj", ranks=16) == 16 * (3 * 4096 + 256 + 128 + 128) * 32 * 2
    assert slots("down_proj", ranks=4) == 16 * (14336 // 4 + 4096) * 32 * 2


def test_the_largest_rank_is_rounded_up_to_one_of_the_engines():
    assert adapters.of([report(rank=4), report(rank=33)]).width == 64
    assert adapters.of([report(rank=1)]).width == 8


def test_a_few_adapters_have_a_slot_each_and_many_take_turns():
    assert [adapters.of([report()] * count).slots for count in (1, 3, 4, 64)] == [1, 3, 4, 4]


def test_the_engine_is_told_of_modules_by_both_names():
    assert adapters.of([report("up_proj")]).modules == ("gate_up_proj", "up_proj")
    assert adapters.of([report("o_proj")]).modules == ("o_proj",)


@given(
    st.sets(st.sampled_from(sorted(SIDES)), min_size=1),
    st.sampled_from(sorted(SIDES)),
    st.sampled_from([1, 2, 4, 8]),
    st.integers(1, 512),
)
def test_more_modules_more_rank_or_fewer_ranks_never_take_less(modules, other, ranks, rank):
    before = slots(*modules, ranks=ranks, rank=rank)
    assert slots(*modules, other, ranks=ranks, rank=rank) >= before
    assert slots(*modules, ranks=ranks, rank=512) >= before
    assert slots(*modules, ranks=1, rank=rank) >= before


def test_a_plain_lora_of_the_model_is_served():
    assert adapters.refused(report(*SIDES), LLAMA) is None
    assert adapters.refused(report(extras={"init_lora_weights": "gaussian"}), LLAMA) is None


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"kind": "IA3"}, "is of type IA3, and the engine loads LORA only"),
        ({"extras": {"use_dora": "True"}}, "is a DoRA (use_dora: True)"),
        ({"extras": {"modules_to_save": "['lm_head']"}}, "replaces whole modules"),
        ({"extras": {"bias": "all"}}, "has biases"),
        ({"extras": {"init_lora_weights": "pissa"}}, "weights that pissa had changed"),
        ({"extras": {"tensors": "x.lora_magnitude_vector"}}, "a tensor that is of no LoRA"),
        ({"rank": 0}, "has the rank 0, and the engine takes 1 to 512"),
        ({"rank": 513}, "has the rank 513"),
        ({"modules": {"lm_head": (4096, 9)}}, "changes lm_head, and Berth plans "),
        ({"modules": {"experts": (4096, 9)}}, "changes experts, and Berth plans "),
        (
            {"modules": {"q_proj": (576, 576)}, "base": "b/small"},
            "has q_proj for a width of 576, and the model's is 4096, as it was made for b/small",
        ),
        ({"modules": {"down_proj": (4096, 576)}}, "has down_proj for a width of 576"),
    ],
)
def test_what_the_engine_cannot_serve_is_refused_with_the_reason(told, said):
    assert said in adapters.refused(report(**told), LLAMA)


def test_of_a_mixture_the_attention_can_be_adapted_and_the_experts_cannot():
    mixture = replace(LLAMA, experts=Experts(count=8, per_token=2, intermediate=14336))
    assert adapters.refused(report("q_proj", "o_proj"), mixture) is None
    assert "changes up_proj, and of a mixture of experts" in adapters.refused(
        report("up_proj"), mixture
    )
