"""What a LoRA adapter is, from its configuration and the header of its weights. Pure.

The files are PEFT's: adapter_config.json, and adapter_model.safetensors with two tensors for each
module that it adapts. They come from strangers, so nothing in them is taken for granted.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from berth_api.adapters import LORA, AdapterReport
from berth_api.shape import FetchError
from berth_server import parts
from berth_server.errors import SourceError

CONFIG: Final = "adapter_config.json"
WEIGHTS: Final = "adapter_model.safetensors"

# A tensor's name ends so: rank x inputs, and outputs x rank. Embeddings have names of their own.
_DOWN: Final = (".lora_A.weight", ".lora_embedding_A")
_UP: Final = (".lora_B.weight", ".lora_embedding_B")
_MATRIX: Final = 2
# Experts are numbered, and are one thing to the engine.
_EXPERTS: Final = "experts"

# Keys of adapter_config.json with which an adapter is more than two matrices a module, or is part
# of other weights than the model's.
_EXTRAS: Final = (
    *("use_dora", "lora_bias", "modules_to_save", "alora_invocation_tokens", "layer_replication"),
    *("use_bdlora", "use_qalora", "target_parameters", "trainable_token_indices"),
)
_BIAS, _NO_BIAS = "bias", "none"
_INIT: Final = "init_lora_weights"  # a name, where it is not the usual one
TENSORS: Final = "tensors"  # the first tensor that is of no LoRA

# Of a stranger's words: enough to be recognised.
_MOST_TEXT: Final = 64
# More kinds of modules than any model has; more of them would not fit an answer.
_MOST_MODULES: Final = 32
# The engine's largest rank is 512; far beyond it nothing is a rank.
_MOST_RANK: Final = 2**20


def report(
    source: str,
    commit: str,
    config: Mapping[str, Any],
    tensors: Iterable[parts.Tensor],
    file_bytes: int,
) -> AdapterReport:
    """Raises SourceError if the configuration or the tensors are of no adapter."""
    modules: dict[str, tuple[int, int]] = {}
    ranks, foreign = [_rank(config)], ""
    for tensor in tensors:
        found = _side(tensor)
        if found is None:
            foreign = foreign or tensor.name[:_MOST_TEXT]
            continue
        module, rank, inputs, outputs = found
        before = modules.get(module, (0, 0))
        modules[module] = max(before[0], inputs), max(before[1], outputs)
        ranks.append(rank)
    if not modules or len(modules) > _MOST_MODULES:
        raise unreadable(f"{WEIGHTS} adapts {len(modules)} kinds of modules")
    return AdapterReport(
        source=source,
        commit=commit,
        rank=max(ranks),
        fileBytes=file_bytes,
        modules=dict(sorted(modules.items())),
        base=_text(config.get("base_model_name_or_path")),
        kind=_text(config.get("peft_type")) or LORA,
        extras=_extras(config) | ({TENSORS: foreign} if foreign else {}),
    )


def unreadable(message: str) -> SourceError:
    fix = f"name a LoRA adapter as PEFT saves it: {CONFIG} and {WEIGHTS}"
    return SourceError(FetchError.CONFIG_UNREADABLE, message, fix)


def _rank(config: Mapping[str, Any]) -> int:
    """The largest that the configuration names; other kinds of adapters have none."""
    named = config.get("rank_pattern")
    own = [config.get("r"), *(named.values() if isinstance(named, Mapping) else ())]
    ranks = [one for one in own if type(one) is int and 0 < one <= _MOST_RANK]
    return max(ranks, default=0)


def _side(tensor: parts.Tensor) -> tuple[str, int, int, int] | None:
    """The module, and of this tensor the rank, inputs and outputs; 0: the other one tells."""
    if len(tensor.shape) != _MATRIX:
        return None
    rows, columns = tensor.shape
    for endings, sizes in ((_DOWN, (rows, columns, 0)), (_UP, (columns, 0, rows))):
        ending = next((one for one in endings if tensor.name.endswith(one)), None)
        if ending is not None:
            return _module(tensor.name.removesuffix(ending)), *sizes
    return None


def _module(name: str) -> str:
    words = name.split(".")
    return _EXPERTS if _EXPERTS in words else words[-1][:_MOST_TEXT]


def _extras(config: Mapping[str, Any]) -> dict[str, str]:
    found = {key: config[key] for key in _EXTRAS if config.get(key)}
    if config.get(_BIAS, _NO_BIAS) not in (_NO_BIAS, None):
        found[_BIAS] = config[_BIAS]
    if isinstance(config.get(_INIT), str):
        found[_INIT] = config[_INIT]
    return {key: str(value)[:_MOST_TEXT] for key, value in found.items()}


def _text(value: Any) -> str:
    return value[:_MOST_TEXT] if isinstance(value, str) else ""
