"""The engine takes what another pod has compiled for it, and compiles nothing again."""

from pathlib import Path

ORACLE = Path(__file__).with_name("oracle_compiled.py")
# Two layers: all that is compiled of a large model is compiled of it too.
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 256,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 512,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "torch_dtype": "float32",
    "tie_word_embeddings": True,
}


def test_the_second_pods_engine_finds_all_that_the_first_ones_has_compiled(engine_python):
    first, second = engine_python(ORACLE, {"config": CONFIG})
    assert first["brought"] == 0
    assert first["added"] > 0
    assert second["brought"] == first["added"]
    assert second["added"] == 0
    assert second["said"] == first["said"]
    assert second["seconds"] < first["seconds"]
