"""LoRA adapters: what the engine cannot serve of one, and what its slots for them take.

The engine gives each module that any adapter may change, in every layer, as many slots as adapters
may be in one batch. All slots are of one rank, so the largest adapter decides (vllm/lora/layers,
create_lora_weights, 0.32). Units: bytes on one rank; a rank is also a LoRA's width, and that is
always called so here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from berth_api.adapters import LORA, AdapterReport
from berth_operator.core.model.shape import DTYPE_BYTES, CacheKind, ModelShape

# Widths that the engine offers (vllm/config/lora.py, MaxLoRARanks, 0.19 to 0.32). It has 1 too, in
# newer versions only.
WIDTHS: Final = (8, 16, 32, 64, 128, 256, 320, 512)
# Adapters in one batch: each costs memory whether it is used or not, and the others wait for a
# step or a few. The engine's own default is 1, with which two users take turns.
MOST_SLOTS: Final = 4


@dataclass(frozen=True)
class _Fused:
    """Modules that the engine keeps as one: each has slots as soon as one of them does."""

    name: str
    members: tuple[str, ...]
    by_rows: bool = False  # ranks split its inputs, else its outputs


# Modules of a decoder whose sizes follow from its shape. Experts, embeddings and heads are not
# among them, nor are modules of state-space layers.
_MODULES: Final = (
    _Fused("qkv_proj", ("q_proj", "k_proj", "v_proj")),
    _Fused("o_proj", (), by_rows=True),
    _Fused("gate_up_proj", ("gate_proj", "up_proj")),
    _Fused("down_proj", (), by_rows=True),
)
_OF_A_MIXTURE: Final = frozenset({"gate_up_proj", "gate_proj", "up_proj", "down_proj"})
_REPEATED: Final = frozenset({"k_proj", "v_proj"})  # on ranks beyond the KV heads
SERVED: Final = frozenset(name for one in _MODULES for name in (one.name, *one.members))

# What an adapter may say beyond a plain LoRA, and what that makes of it.
_EXTRAS: Final = {
    "use_dora": "is a DoRA",
    "modules_to_save": "replaces whole modules",
    "bias": "has biases",
    "lora_bias": "has biases",
    "alora_invocation_tokens": "is an activated LoRA",
    "layer_replication": "repeats layers",
    "use_bdlora": "is a block-diagonal LoRA",
    "use_qalora": "is a QALoRA",
    "target_parameters": "changes parameters of experts",
    "trainable_token_indices": "changes tokens of the vocabulary",
    "tensors": "has a tensor that is of no LoRA",
}
# Ways to begin a training that leave the model's weights alone (vllm/lora/peft_helper.py, 0.32).
_INIT: Final = "init_lora_weights"
_HARMLESS_INITS: Final = frozenset({"gaussian", "eva", "orthogonal", "mica", "lora_ga"})


@dataclass(frozen=True)
class Adapters:
    """Those of one model, each of which can be served."""

    slots: int
    width: int  # of each slot
    sizes: Mapping[str, tuple[int, int]]  # inputs and outputs of each module that one changes
    file_bytes: int  # of all

    @property
    def modules(self) -> tuple[str, ...]:
        """As the engine is told: by their own names, and by those of what they are fused into.

        Versions before 0.32 look for the latter only.
        """
        fused = {one.name for one in _MODULES if self.sizes.keys() & {one.name, *one.members}}
        return tuple(sorted(self.sizes.keys() | fused))


def of(reports: Iterable[AdapterReport]) -> Adapters | None:
    """None without any. The reports are of adapters that are not `refused`."""
    given = tuple(reports)
    if not given:
        return None
    sizes: dict[str, tuple[int, int]] = {}
    for report in given:
        for module, (inputs, outputs) in report.modules.items():
            before = sizes.get(module, (0, 0))
            sizes[module] = max(before[0], inputs), max(before[1], outputs)
    width = max(report.rank for report in given)
    return Adapters(
        slots=min(len(given), MOST_SLOTS),
        width=next(one for one in WIDTHS if one >= width),
        sizes=sizes,
        file_bytes=sum(report.fileBytes for report in given),
    )


def slot_bytes(adapters: Adapters, shape: ModelShape, dtype: str, tensor_parallel: int) -> int:
    """Of all slots together, on one of `tensor_parallel` ranks."""
    sides = sum(_sides(one, adapters, shape, tensor_parallel) for one in _MODULES)
    return adapters.slots * adapters.width * sides * shape.layers * DTYPE_BYTES[dtype]


def _sides(fused: _Fused, adapters: Adapters, shape: ModelShape, ranks: int) -> int:
    """Inputs and outputs of one layer's module that a rank has slots for."""
    sizes = adapters.sizes
    if fused.name in sizes:  # trained as one, and then it has one pair of matrices
        inputs, outputs = sizes[fused.name]
        if fused.by_rows:
            return _share(inputs, ranks) + outputs
        parts = {name: _outputs(name, shape) for name in fused.members}
        known = sum(parts.values()) == outputs
        return inputs + (_split(parts, shape, ranks) if known else outputs)
    if not sizes.keys() & set(fused.members):
        return 0
    parts = {name: sizes.get(name, (0, _outputs(name, shape)))[1] for name in fused.members}
    inputs = max(sizes[name][0] for name in fused.members if name in sizes)
    return len(parts) * inputs + _split(parts, shape, ranks)


def _split(parts: Mapping[str, int], shape: ModelShape, ranks: int) -> int:
    """Outputs on one rank."""
    return sum(
        _share(count, min(ranks, shape.kv_heads) if name in _REPEATED else ranks)
        for name, count in parts.items()
    )


def _outputs(module: str, shape: ModelShape) -> int:
    """Of a module that no adapter has told of."""
    if module in ("gate_proj", "up_proj"):
        return shape.intermediate
    attends = [one for one in shape.cache if one.kind is not CacheKind.STATE]
    if module == "v_proj":
        return max((one.kv_heads * one.value_dim for one in attends), default=0)
    head = max((one.key_dim for one in attends), default=0)
    return head * (shape.heads if module == "q_proj" else shape.kv_heads)


def refused(report: AdapterReport, shape: ModelShape) -> str | None:
    """Why the engine could not serve this adapter with this model; None if it can."""
    if report.kind != LORA:
        return f"is of type {report.kind}, and the engine loads {LORA} only"
    for key, value in report.extras.items():
        if key == _INIT and value.lower() not in _HARMLESS_INITS:
            return f"was trained on weights that {value} had changed"
        if key in _EXTRAS:
            return f"{_EXTRAS[key]} ({key}: {value})"
    if not 0 < report.rank <= WIDTHS[-1]:
        return f"has the rank {report.rank}, and the engine takes 1 to {WIDTHS[-1]}"
    return _wrong_module(report, shape)


def _wrong_module(report: AdapterReport, shape: ModelShape) -> str | None:
    served = SERVED - _OF_A_MIXTURE if shape.experts else SERVED
    other = [name for name in report.modules if name not in served]
    if other:
        what = "of a mixture of experts " if shape.experts else ""
        known = ", ".join(sorted(served))
        return f"changes {', '.join(other)}, and {what}Berth plans {known} only"
    for name, sides in report.modules.items():
        outer = sides[1] if name in ("o_proj", "down_proj") else sides[0]
        if outer != shape.hidden:
            of = f", as it was made for {report.base}" if report.base else ""
            return f"has {name} for a width of {outer}, and the model's is {shape.hidden}{of}"
    return None


def _share(whole: int, ranks: int) -> int:
    return -(-whole // ranks)
