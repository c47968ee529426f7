"""The bar: every part is seen, in proportion, at any width."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_api.status import Plan
from berth_cli import picture
from berth_cli.picture import LEAST_WIDTH, Part

GIB = 2**30


def plan(**fields):
    return Plan(
        **(
            {
                "accelerator": "gpu",
                "engine_profile": "vllm",
                "image": "vllm:1",
                "device": "cuda",
                "tensor_parallel_size": 1,
                "gpus_per_replica": 1,
                "gpu_memory_fraction": "0.92",
                "dtype": "bfloat16",
                "kv_cache_dtype": "auto",
                "usable_bytes": 36 * GIB,
                "weights_bytes": 20 * GIB,
                "activation_bytes": 2 * GIB,
                "graph_bytes": GIB,
                "overhead_bytes": GIB,
                "kv_bytes_per_token": 131072,
                "kv_cache_bytes": 12 * GIB,
                "kv_cache_tokens": 98304,
                "max_model_len": 8192,
                "max_num_seqs": 256,
                "max_num_batched_tokens": 8192,
                "memory_bytes": GIB,
                "millicpu": 1000,
            }
            | fields
        )
    )


@pytest.mark.parametrize(
    ("width", "drawn"),
    [
        (20, "W" * 9 + "AGD" + "K" * 6 + ".."),
        (40, "W" * 20 + "AA" + "G" + "D" + "K" * 12 + "...."),
        (80, "W" * 40 + "AAAA" + "GG" + "DD" + "K" * 24 + "." * 8),
    ],
)
def test_the_bar_is_in_proportion(width, drawn):
    assert picture.bar(picture.parts(plan(), 40 * GIB), width) == drawn


def test_each_part_has_a_line_with_its_bytes():
    lines = picture.lines(picture.parts(plan(), 40 * GIB), 40 * GIB, 44)
    assert lines[1:] == [
        "  W weights       20.00 GiB",
        "  A activations    2.00 GiB  the engine's largest step",
        "  G graphs         1.00 GiB",
        "  D overhead       1.00 GiB  driver, communication, tables, margins",
        "  K KV cache      12.00 GiB  98304 tokens",
        "  . free           4.00 GiB  the engine is given 0.92 of the card",
    ]
    assert len(lines[0]) == 42


def test_slots_of_adapters_are_a_part_of_their_own():
    slots = {"count": 2, "max_rank": 64, "modules": ["q_proj"], "slot_bytes": 2 * GIB}
    shown = picture.parts(plan(adapter_slots=slots | {"host_bytes": 1}), 40 * GIB)
    assert picture.bar(shown, 40).startswith("W" * 20 + "LL" + "AA")
    assert "L adapters       2.00 GiB  2 slots of rank 64" in "\n".join(
        picture.lines(shown, 40 * GIB, 44)
    )


def test_a_pod_on_cpu_has_neither_graphs_nor_a_share():
    on_cpu = plan(device="cpu", graph_bytes=0, gpu_memory_fraction=None, gpus_per_replica=0)
    lines = picture.lines(picture.parts(on_cpu, 36 * GIB), 36 * GIB, 44)
    assert [line.strip()[0] for line in lines[1:]] == ["W", "A", "D", "K", "."]
    assert "the engine's processes" in lines[3]


def test_what_is_too_large_runs_past_the_cards_end():
    shown = picture.parts(plan(kv_cache_bytes=0), 12 * GIB)
    drawn, end, *_ = picture.lines(shown, 12 * GIB, 52)
    assert "." not in drawn
    assert end == "  " + "=" * 24 + "| the card ends"


def test_colours_change_no_cell():
    shown = picture.parts(plan(), 40 * GIB)
    coloured = picture.bar(shown, 40, colours=True)
    assert "\x1b[44m" in coloured
    plain = coloured.replace("\x1b[0m", "")
    for part in shown:
        plain = plain.replace(f"\x1b[{part.colour}m", "")
    assert plain == picture.bar(shown, 40)


@given(
    st.lists(st.integers(1, 200 * GIB), min_size=1, max_size=6),
    st.integers(LEAST_WIDTH, 300),
)
def test_the_bar_is_full_and_shows_every_part(counts, width):
    shown = [Part(letter, letter, count) for letter, count in zip("WAGDK.", counts, strict=False)]
    found = picture.bar(shown, width)
    assert len(found) == width
    assert set(found) == {part.letter for part in shown}
    for part in shown:
        share = part.count * width / sum(counts)
        assert abs(found.count(part.letter) - share) <= len(shown)


@pytest.mark.parametrize("width", [0, 5, LEAST_WIDTH])
def test_a_narrow_terminal_gets_the_least_bar(width):
    drawn = picture.lines(picture.parts(plan(), 40 * GIB), 40 * GIB, width)[0]
    assert len(drawn.strip()) == LEAST_WIDTH
