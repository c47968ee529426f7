"""`core.model.legality` against the engine's own checks and layers, for every size on 200 shapes.

Shapes are drawn around real families, with dimensions that do not divide well. Nothing of ours is
asked in the oracle: it builds the engine's model.
"""

import random
from dataclasses import dataclass
from pathlib import Path

import published
import pytest

from berth_operator.core.model import architecture, legality
from berth_operator.core.model.shape import ModelShape
from berth_server.trim import trim

ORACLE = Path(__file__).with_name("oracle_legality.py")

CASES = 200
SIZES = (1, 2, 3, 4, 5, 6, 7, 8, 16)
# Compute capability: without and with FP8 units.
AMPERE = (8, 0)
HOPPER = (9, 0)

HEADS = (9, 12, 14, 16, 24, 28, 32, 40, 60, 64)
KV_HEADS = (1, 2, 3, 4, 5, 8)
VOCABULARIES = (32000, 32001, 50257, 128256, 151936, 152064, 129280, 107520)
INTERMEDIATES = (4864, 8960, 10752, 11008, 13824, 14336, 18944, 26880, 27648, 28672, 29568)
EXPERT_INTERMEDIATES = (640, 704, 768, 896, 1024, 1408, 1536, 2048, 3072)
EXPERT_COUNTS = (4, 8, 16, 60, 64, 128)


@dataclass(frozen=True)
class Case:
    name: str
    config: dict
    capability: tuple[int, int]
    data: bool = False

    @property
    def asked(self):
        return {
            "config": self.config,
            "sizes": SIZES,
            "capability": self.capability,
            "data": self.data,
        }

    @property
    def fp8_units(self):
        return self.capability == HOPPER


def _decoder(draw, architecture_name, model_type, **more):
    heads = draw.choice(HEADS)
    head_dim = draw.choice((64, 128))
    return {
        "architectures": [architecture_name],
        "model_type": model_type,
        "hidden_size": heads * head_dim,
        "intermediate_size": draw.choice(INTERMEDIATES),
        "num_attention_heads": heads,
        "num_key_value_heads": _kv_heads(draw, heads),
        "num_hidden_layers": 1,
        "vocab_size": draw.choice(VOCABULARIES),
        "max_position_embeddings": 4096,
        "torch_dtype": "bfloat16",
        "rms_norm_eps": 1e-5,
        "hidden_act": "silu",
        **more,
    }


def _kv_heads(draw, heads):
    return draw.choice([count for count in (*KV_HEADS, heads) if heads % count == 0])


def _llama(draw):
    return _decoder(draw, "LlamaForCausalLM", "llama")


def _qwen2(draw):
    return _decoder(draw, "Qwen2ForCausalLM", "qwen2")


def _qwen3(draw):
    return _decoder(draw, "Qwen3ForCausalLM", "qwen3", head_dim=128)


def _mistral(draw):
    return _decoder(draw, "MistralForCausalLM", "mistral", head_dim=draw.choice((96, 128, 160)))


def _phi3(draw):
    return _decoder(draw, "Phi3ForCausalLM", "phi3", pad_token_id=0)


def _gemma2(draw):
    return _decoder(
        draw,
        "Gemma2ForCausalLM",
        "gemma2",
        head_dim=256,
        num_hidden_layers=2,
        sliding_window=4096,
        query_pre_attn_scalar=256,
        attn_logit_softcapping=50.0,
        final_logit_softcapping=30.0,
        hidden_activation="gelu_pytorch_tanh",
    )


def _mixtral(draw):
    experts = {"num_local_experts": draw.choice(EXPERT_COUNTS), "num_experts_per_tok": 2}
    return _decoder(draw, "MixtralForCausalLM", "mixtral", **experts)


def _qwen3_moe(draw):
    return _decoder(
        draw,
        "Qwen3MoeForCausalLM",
        "qwen3_moe",
        head_dim=128,
        num_experts=draw.choice(EXPERT_COUNTS),
        num_experts_per_tok=2,
        moe_intermediate_size=draw.choice(EXPERT_INTERMEDIATES),
        decoder_sparse_step=1,
        mlp_only_layers=[],
        norm_topk_prob=True,
    )


def _qwen2_moe(draw):
    return _decoder(
        draw,
        "Qwen2MoeForCausalLM",
        "qwen2_moe",
        num_hidden_layers=2,
        num_experts=draw.choice(EXPERT_COUNTS),
        num_experts_per_tok=2,
        moe_intermediate_size=draw.choice(EXPERT_INTERMEDIATES),
        shared_expert_intermediate_size=draw.choice((2048, 5632, 20480, 3456)),
        decoder_sparse_step=1,
        mlp_only_layers=[0] if draw.random() < 0.5 else [],
        norm_topk_prob=True,
    )


def _deepseek(draw):
    heads = draw.choice((9, 12, 16, 28, 64, 128))
    return _decoder(
        draw,
        "DeepseekV3ForCausalLM",
        "deepseek_v3",
        num_attention_heads=heads,
        num_key_value_heads=heads,
        hidden_size=draw.choice((2048, 5120, 7168)),
        num_hidden_layers=2,
        first_k_dense_replace=draw.choice((0, 1)),
        moe_layer_freq=1,
        moe_intermediate_size=draw.choice(EXPERT_INTERMEDIATES),
        n_routed_experts=draw.choice((64, 128)),
        n_shared_experts=draw.choice((1, 2)),
        num_experts_per_tok=6,
        n_group=8,
        topk_group=4,
        norm_topk_prob=True,
        routed_scaling_factor=2.5,
        scoring_func="sigmoid",
        topk_method="noaux_tc",
        q_lora_rank=draw.choice((None, 1536)),
        kv_lora_rank=512,
        qk_nope_head_dim=128,
        qk_rope_head_dim=64,
        v_head_dim=128,
        rope_theta=10000,
    )


def _gpt_oss(draw):
    return _decoder(
        draw,
        "GptOssForCausalLM",
        "gpt_oss",
        hidden_size=draw.choice((2880, 3072)),
        intermediate_size=draw.choice((2880, 3072, 2816)),
        head_dim=64,
        num_hidden_layers=2,
        layer_types=["sliding_attention", "full_attention"],
        num_local_experts=32,
        num_experts_per_tok=4,
        sliding_window=128,
        rope_theta=150000,
        rope_scaling={
            "rope_type": "yarn",
            "factor": 32.0,
            "beta_fast": 32.0,
            "beta_slow": 1.0,
            "truncate": False,
            "original_max_position_embeddings": 4096,
        },
    )


def _qwen3_next(draw):
    key_heads = draw.choice((6, 12, 16))
    return _decoder(
        draw,
        "Qwen3NextForCausalLM",
        "qwen3_next",
        head_dim=256,
        num_hidden_layers=2,
        layer_types=["linear_attention", "full_attention"],
        linear_num_key_heads=key_heads,
        linear_num_value_heads=2 * key_heads,
        linear_key_head_dim=128,
        linear_value_head_dim=128,
        linear_conv_kernel_dim=4,
        num_experts=64,
        num_experts_per_tok=8,
        moe_intermediate_size=draw.choice(EXPERT_INTERMEDIATES),
        shared_expert_intermediate_size=draw.choice((512, 1536)),
        decoder_sparse_step=1,
        mlp_only_layers=[],
        partial_rotary_factor=0.25,
    )


def _falcon_h1(draw):
    heads = draw.choice((12, 24, 32))
    return _decoder(
        draw,
        "FalconH1ForCausalLM",
        "falcon_h1",
        head_dim=64,
        mamba_n_heads=heads,
        mamba_d_head=64,
        mamba_d_ssm=heads * 64,
        mamba_n_groups=draw.choice((1, 2, 4)),
        mamba_d_state=128,
        mamba_d_conv=4,
        mamba_expand=2,
        mamba_chunk_size=128,
        mamba_rms_norm=False,
    )


def _falcon(draw):
    heads = draw.choice((12, 28, 64, 71))
    new = draw.random() < 0.5
    return {
        "architectures": ["FalconForCausalLM"],
        "model_type": "falcon",
        "hidden_size": heads * 64,
        "num_attention_heads": heads,
        "num_kv_heads": _kv_heads(draw, heads),
        "multi_query": True,
        "new_decoder_architecture": new,
        "parallel_attn": True,
        "bias": False,
        "num_hidden_layers": 1,
        "vocab_size": draw.choice(VOCABULARIES),
        "alibi": False,
        "torch_dtype": "bfloat16",
    }


def _gpt2(draw):
    heads = draw.choice(HEADS)
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "n_embd": heads * 64,
        "n_head": heads,
        "n_layer": 1,
        "n_positions": 1024,
        "vocab_size": draw.choice(VOCABULARIES),
        "torch_dtype": "float32",
    }


def _starcoder2(draw):
    return _decoder(draw, "Starcoder2ForCausalLM", "starcoder2", use_bias=True)


def _qwen2_5_vl(draw):
    tower = {
        "model_type": "qwen2_5_vl",
        "depth": 1,
        "hidden_size": 1280,
        "num_heads": draw.choice((10, 16)),
        "intermediate_size": draw.choice((3420, 3456)),
        "out_hidden_size": 3584,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "window_size": 112,
        "fullatt_block_indexes": [0],
    }
    config = _decoder(
        draw,
        "Qwen2_5_VLForConditionalGeneration",
        "qwen2_5_vl",
        vision_config=tower,
        image_token_id=5,
        video_token_id=6,
        vision_start_token_id=7,
    )
    tower["out_hidden_size"] = config["hidden_size"]
    half = config["hidden_size"] // config["num_attention_heads"] // 2
    section = [half // 4, half * 3 // 8, half * 3 // 8]
    return config | {"rope_scaling": {"type": "mrope", "mrope_section": section}}


def _gemma3(draw):
    heads = draw.choice((8, 16, 32))
    text = {
        "model_type": "gemma3_text",
        "hidden_size": 2560,
        "num_attention_heads": heads,
        "num_key_value_heads": _kv_heads(draw, heads),
        "head_dim": 128,
        "intermediate_size": 10240,
        "num_hidden_layers": 2,
        "vocab_size": 262208,
        "max_position_embeddings": 131072,
        "sliding_window": 1024,
        "layer_types": ["sliding_attention", "full_attention"],
    }
    tower = {
        "model_type": "siglip_vision_model",
        "hidden_size": 1152,
        "intermediate_size": draw.choice((4304, 4608)),
        "num_attention_heads": draw.choice((12, 16)),
        "num_hidden_layers": 1,
        "image_size": 896,
        "patch_size": 14,
        "vision_use_head": False,
    }
    return {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "model_type": "gemma3",
        "text_config": text,
        "vision_config": tower,
        "mm_tokens_per_image": 256,
        "image_token_index": 262144,
        "torch_dtype": "bfloat16",
    }


def _plain(_draw):
    return None


def _awq(draw):
    return {
        "quant_method": "awq",
        "bits": 4,
        "group_size": draw.choice((32, 64, 128)),
        "zero_point": True,
        "version": "gemm",
        "modules_to_not_convert": ["lm_head", "gate", "visual"],
    }


def _gptq(draw):
    names = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    return {
        "quant_method": "gptq",
        "bits": draw.choice((4, 8)),
        "group_size": draw.choice((-1, 32, 64, 128)),
        "sym": True,
        "desc_act": False,
        "modules_in_block_to_quantize": list(names),
    }


def _fp8_block(_draw):
    return {
        "quant_method": "fp8",
        "activation_scheme": "dynamic",
        "fmt": "e4m3",
        "weight_block_size": [128, 128],
    }


def _fp8_tensor(_draw):
    return {"quant_method": "fp8", "activation_scheme": "static"}


def _mxfp4(_draw):
    skipped = ["model.layers.*.self_attn", "model.layers.*.mlp.router", "lm_head"]
    return {"quant_method": "mxfp4", "modules_to_not_convert": skipped}


def _bitsandbytes(_draw):
    return {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}


def _compressed(kind, weights, activations=None):
    group = {
        "targets": ["Linear"],
        "weights": {"symmetric": True, "dynamic": False, **weights},
        "input_activations": activations,
    }
    return {
        "quant_method": "compressed-tensors",
        "format": kind,
        "quantization_status": "compressed",
        "ignore": ["lm_head", "re:.*gate$"],
        "config_groups": {"group_0": group},
    }


def _compressed_int4(draw):
    size = draw.choice((32, 64, 128))
    weights = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": size}
    return _compressed("pack-quantized", weights)


def _compressed_fp8_channel(_draw):
    weights = {"num_bits": 8, "type": "float", "strategy": "channel"}
    tokens = {"num_bits": 8, "type": "float", "strategy": "token", "symmetric": True}
    return _compressed("float-quantized", weights, tokens | {"dynamic": True})


def _compressed_fp8_block(_draw):
    weights = {
        "num_bits": 8,
        "type": "float",
        "strategy": "block",
        "block_structure": [128, 128],
    }
    tokens = {"num_bits": 8, "type": "float", "strategy": "group", "group_size": 128}
    return _compressed("float-quantized", weights, tokens | {"symmetric": True, "dynamic": True})


DENSE = (_llama, _qwen2, _qwen3, _mistral)
MIXTURES = (_mixtral, _qwen3_moe, _qwen2_moe, _deepseek)
OTHERS = (
    *(_phi3, _gemma2, _gpt_oss, _qwen3_next, _falcon_h1, _falcon, _gpt2, _starcoder2),
    *(_qwen2_5_vl, _gemma3),
)
GROUPED = (_awq, _gptq, _compressed_int4)
BLOCKED = (_fp8_block, _compressed_fp8_block)
QUANTIZED = (*GROUPED, *BLOCKED, _fp8_tensor, _compressed_fp8_channel)
# Pairs in turn; each draws anew.
PAIRS = (
    *((family, quantization) for family in DENSE for quantization in QUANTIZED),
    *((family, quantization) for family in MIXTURES for quantization in QUANTIZED),
    *((family, _plain) for family in (*DENSE, *MIXTURES, *OTHERS)),
    *((family, _plain) for family in OTHERS),
    *((_gpt_oss, _mxfp4), (_llama, _bitsandbytes), (_qwen2_5_vl, _awq), (_phi3, _gptq)),
)


def _shapes():
    for number in range(CASES):
        draw = random.Random(number)
        family, quantization = PAIRS[number % len(PAIRS)]
        config = family(draw)
        said = quantization(draw)
        yield (
            f"{number} {family.__name__} {quantization.__name__}",
            config | ({"quantization_config": said} if said else {}),
        )


def _cases():
    for name, config in _shapes():
        for capability in _capabilities(config):
            yield Case(name, config, capability)
            if "vision_config" in config:
                yield Case(name, config, capability, data=True)


def _capabilities(config):
    """Of GPTQ not Hopper: its kernel Machete is not asked whether a group crosses ranks.

    Each rank would then hold fewer scales than its inputs have, and other ranks' ones.
    """
    method = config.get("quantization_config", {}).get("quant_method")
    return (AMPERE,) if method == "gptq" else (AMPERE, HOPPER)


def _shape(config):
    """As the operator has it: from what the shape Job keeps of config.json."""
    shape = architecture.read(published.weighing(trim(config)))
    assert isinstance(shape, ModelShape), shape
    return shape


@pytest.fixture(scope="module")
def cases():
    return tuple(_cases())


@pytest.fixture(scope="module")
def answer(engine_python, cases):
    return engine_python(ORACLE, {"cases": [case.asked for case in cases]})


def test_every_size_of_every_shape_is_legal_exactly_where_the_engine_builds_it(cases, answer):
    wrong = []
    for case, verdict in zip(cases, answer["verdicts"], strict=True):
        shape = _shape(case.config)
        for size in SIZES:
            if case.data != legality.vision_data_parallel(shape, size):
                continue  # what the plan would not start
            ours = legality.illegal(shape, size, fp8_units=case.fp8_units)
            theirs = verdict[str(size)]
            if bool(ours) != bool(theirs):
                wrong.append(f"{case.name} {case.capability} {size}: {ours} / {theirs}")
    assert not wrong, "\n".join(wrong)


def test_a_vision_tower_is_repeated_only_where_the_engine_cannot_split_it(cases, answer):
    repeated = 0
    for case, verdict in zip(cases, answer["verdicts"], strict=True):
        shape = _shape(case.config)
        for size in SIZES:
            if case.data or not legality.vision_data_parallel(shape, size):
                continue
            repeated += 1
            assert verdict[str(size)], f"{case.name} splits the tower into {size}"
    assert repeated


def test_each_rule_is_the_only_one_broken_somewhere(cases):
    alone = set()
    for case in cases:
        shape = _shape(case.config)
        for size in SIZES:
            rules = legality.RULES + legality.RULES_WITHOUT_FP8_UNITS * (not case.fp8_units)
            broken = [rule for rule in rules if any(rule(shape, size))]
            alone.update(broken if len(broken) == 1 else ())
    every = legality.RULES + legality.RULES_WITHOUT_FP8_UNITS
    assert {rule.__name__ for rule in every} == {rule.__name__ for rule in alone}


def test_the_engine_repeats_towers_of_these_architectures_only(answer):
    assert set(answer["dataParallel"]) == legality.VISION_DATA_PARALLEL


def test_the_engine_knows_these_quantisations_only(answer):
    assert set(answer["quantizations"]) == legality.QUANTIZATION_METHODS - {"auto-round"}
