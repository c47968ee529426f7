import published
import pytest

from berth_operator.core.model import rotary
from berth_operator.core.model.section import Section


@pytest.mark.parametrize(
    ("name", "rows", "width"),
    [
        ("llama-3.1-8b", 131_072, 128),
        ("gemma-3-27b", 131_072 * 8 + 131_072, 128),  # a stretched table, and a plain one
        ("deepseek-v3", 163_840, 64),
        ("gpt-oss-20b", 131_072, 64),
        ("qwen2.5-vl-7b", 4 * 128_000, 128),
        ("qwen3-next-80b-a3b", 262_144, 64),
        ("llama-4-scout", 10_485_760, 128),
        ("gpt2", 0, 0),
        ("nemotron-h-8b", 0, 0),
        ("granite-4.0-h-tiny", 0, 0),
    ],
)
def test_published_models_have_the_engines_tables(name, rows, width):
    found = published.shape(name)
    assert (found.rotary_rows, found.rotary_dim) == (rows, width)


PLAIN = {"num_attention_heads": 4, "hidden_size": 64, "max_position_embeddings": 100}


@pytest.mark.parametrize(
    ("scaling", "rows"),
    [
        ({"type": "linear", "factor": 2.5}, 250),
        ({"rope_type": "yarn", "factor": 4, "original_max_position_embeddings": 25}, 100),
        ({"type": "yarn", "factor": 4}, 400),
        ({"type": "longrope", "original_max_position_embeddings": 10}, 110),
        ({"type": "dynamic", "factor": 9}, 100),
        ({"type": "linear", "factor": 10**30}, 100),
        ({"type": "linear", "factor": "much"}, 100),
        ({"type": "linear", "factor": float("nan")}, 100),
    ],
)
def test_a_stretched_context_has_more_rows(scaling, rows):
    assert rotary.table(Section(PLAIN | {"rope_scaling": scaling}, {}), "llama") == (rows, 16)


def test_a_part_of_a_head_may_turn():
    assert rotary.table(Section(PLAIN | {"partial_rotary_factor": 0.5}, {}), "glm4") == (100, 8)
