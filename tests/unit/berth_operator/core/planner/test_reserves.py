"""What the engine takes beside weights and KV cache, against what a card measured."""

from dataclasses import replace

import pytest
from planning import GIB, LLAMA_8B, QWEN3_32B

from berth_operator.core.model.shape import Experts, ModelShape, Vision
from berth_operator.core.planner import reserves
from berth_operator.core.planner.reserves import Batch
from berth_operator.settings import Device

# The batch of the calibration rows: the engine's defaults on an H100.
H100_BATCH = Batch(sequences=1024, tokens=8192)


@pytest.mark.parametrize(
    ("model", "tensor_parallel", "measured_gib"), [(LLAMA_8B, 1, 4.76), (QWEN3_32B, 2, 5.64)]
)
def test_activations_are_what_an_h100_measured(
    model: ModelShape, tensor_parallel: int, measured_gib: float
) -> None:
    planned = reserves.activation_bytes(model, "bfloat16", H100_BATCH, tensor_parallel)
    assert planned / GIB == pytest.approx(measured_gib, abs=0.02)


@pytest.mark.parametrize(("tensor_parallel", "measured_gib"), [(1, 0.13), (2, 0.54)])
def test_what_is_not_torchs_is_what_an_h100_measured(
    tensor_parallel: int, measured_gib: float
) -> None:
    found = reserves.reserves(
        LLAMA_8B, Device.CUDA, H100_BATCH, dtype="bfloat16", tensor_parallel=tensor_parallel
    )
    assert found.overhead / GIB == pytest.approx(measured_gib, abs=0.01)


def test_logits_of_all_sequences_are_on_every_rank() -> None:
    few, many = Batch(64, 2048), Batch(256, 2048)
    assert reserves.sampler_bytes(LLAMA_8B, many) == 4 * reserves.sampler_bytes(LLAMA_8B, few)
    alone, split = (
        reserves.activation_bytes(LLAMA_8B, "bfloat16", many, ranks) for ranks in (1, 4)
    )
    assert alone == split


def test_a_long_step_of_few_sequences_is_the_layers() -> None:
    wide = reserves.activation_bytes(LLAMA_8B, "bfloat16", Batch(1, 16384), 1)
    assert wide == 16384 * (4 * 4096 + 3 * 14336) * 2
    assert reserves.activation_bytes(LLAMA_8B, "bfloat16", Batch(1, 16384), 2) < wide


def test_each_chosen_expert_has_a_copy_of_the_token() -> None:
    experts = Experts(count=64, per_token=8, intermediate=1024)
    mixture = replace(LLAMA_8B, intermediate=1024, experts=experts)
    assert reserves.layer_width(mixture, 1) == 4 * 4096 + 8 * (4096 + 1024)
    assert reserves.layer_width(mixture, 8) == 4 * 4096 + 8 * (4096 + 128)


def test_a_tower_is_profiled_with_its_largest_picture() -> None:
    tower = Vision(heads=16, layers=32, hidden=1280, intermediate=3420)
    seeing = replace(LLAMA_8B, vision=tower)
    batch = Batch(sequences=1, tokens=2048)
    patches = tower.max_item_tokens * tower.patches_per_token
    assert (
        reserves.activation_bytes(seeing, "bfloat16", batch, 1)
        == patches * (4 * 1280 + 3 * 3420) * 2
    )


@pytest.mark.parametrize(("largest", "sizes"), [(512, 51), (256, 35), (8, 4), (2, 2), (0, 0)])
def test_graphs_are_those_of_the_engines_sizes_twice(largest: int, sizes: int) -> None:
    assert reserves.graph_count(largest) == 2 * sizes


def test_no_graphs_are_captured_on_cpu_or_when_eager() -> None:
    def graphs(device: Device, *, eager: bool) -> int:
        return reserves.reserves(
            LLAMA_8B, device, Batch(64, 2048), dtype="bfloat16", tensor_parallel=1, eager=eager
        ).graphs

    assert graphs(Device.CUDA, eager=False) > 0
    assert graphs(Device.CUDA, eager=True) == graphs(Device.CPU, eager=False) == 0


def test_with_adapters_each_graph_is_captured_once_more() -> None:
    def taken(*, adapters: bool) -> reserves.Reserves:
        return reserves.reserves(
            LLAMA_8B,
            Device.CUDA,
            Batch(64, 2048),
            dtype="bfloat16",
            tensor_parallel=1,
            adapters=adapters,
        )

    nodes = reserves.graph_count(128) * reserves.GRAPH_BYTES_EACH
    assert taken(adapters=True).graphs - taken(adapters=False).graphs == nodes


def test_an_unknown_architecture_gets_a_margin() -> None:
    assert reserves.unknown_margin(LLAMA_8B, 10 * GIB) == 0
    assert reserves.unknown_margin(replace(LLAMA_8B, known=False), 10 * GIB) == GIB
