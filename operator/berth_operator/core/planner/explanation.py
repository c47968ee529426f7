"""A plan in sentences, each value with what it follows from: `status.plan.explain`."""

from collections.abc import Sequence

from berth_api.quantity import format_bytes
from berth_api.status import Alternative
from berth_operator.core.model import legality
from berth_operator.core.model.adapters import Adapters
from berth_operator.core.model.shape import CacheKind, CacheLayers, ModelShape, Part
from berth_operator.core.planner.attempt import Attempt
from berth_operator.core.planner.case import Case
from berth_operator.core.planner.wishes import illegal


def explain(
    shape: ModelShape, chosen: Attempt, context: int, adapters: Adapters | None = None
) -> list[str]:
    offer, cache = chosen.offer, chosen.blocks * chosen.layout.bytes_per_block
    usable, card = format_bytes(chosen.usable), format_bytes(offer.memory_bytes)
    activations, batch = format_bytes(chosen.activations), chosen.batch
    blocks = f"{chosen.blocks} blocks of {chosen.layout.block_tokens} tokens"
    profiled = f"the engine's profile run with {batch.sequences} sequences, {batch.tokens} tokens"
    lines = [
        _size(shape, chosen),
        f"{usable} usable of {card} on {offer.profile.name}",
        f"weights {format_bytes(chosen.weights)}: {_weights(shape)}",
        f"activations {activations}: {profiled}",
        _overhead(chosen),
        *(_cache(layers, chosen) for layers in shape.cache),
        f"KV cache {format_bytes(cache)} in {blocks}",
        f"context {context} of the model's {shape.max_position} tokens",
    ]
    if adapters is not None:
        lines.append(
            f"LoRA adapters {format_bytes(chosen.adapters.slots)}: {adapters.slots} slots of rank "
            f"{adapters.width} for {', '.join(adapters.sizes)}"
        )
    if chosen.margin:
        lines.append(
            f"{shape.architecture} is not known to Berth: read as an ordinary decoder, with "
            f"{format_bytes(chosen.margin)} left alone"
        )
    if chosen.learned:
        lines.append(f"activations hold {format_bytes(chosen.learned)} by an earlier measurement")
    if legality.vision_data_parallel(shape, chosen.tensor_parallel):
        lines.append("the vision tower runs whole on each rank: its heads cannot be split so")
    return lines


def _size(shape: ModelShape, chosen: Attempt) -> str:
    nodes = f" on each of {chosen.nodes} nodes" if chosen.nodes > 1 else ""
    return (
        f"tensor parallel {chosen.tensor_parallel}{nodes}: {shape.architecture} with "
        f"{shape.heads} attention and {shape.kv_heads} KV heads"
    )


def _weights(shape: ModelShape) -> str:
    if shape.parts.keys() == {Part.LINEAR}:  # headers tell of an embedding too
        return "from the total size alone, split evenly"
    stored = {
        dtype: sum(by.get(dtype, 0) for by in shape.parts.values())
        for dtype in sorted({dtype for by in shape.parts.values() for dtype in by})
    }
    held = ", ".join(f"{format_bytes(count)} {dtype}" for dtype, count in stored.items() if count)
    tied = "; embeddings are tied" if shape.tied else ""
    return f"from the safetensors headers ({held}){tied}"


def _overhead(chosen: Attempt) -> str:
    if chosen.offer.on_cpu:
        return f"the engine's processes {format_bytes(chosen.overhead)}"
    return (
        f"graphs {format_bytes(chosen.reserves.graphs)}, driver, communication and tables "
        f"{format_bytes(chosen.overhead)}"
    )


def _cache(layers: CacheLayers, chosen: Attempt) -> str:
    kind = layers.kind
    if kind is CacheKind.STATE:
        return f"{layers.layers} layers keep a state of fixed size"
    window = f" of {layers.window} tokens" if layers.window else ""
    repeated = layers.kv_heads < chosen.tensor_parallel or kind is CacheKind.LATENT
    ranks = ", the same on every rank" if repeated and chosen.tensor_parallel > 1 else ""
    size = layers.key_dim + layers.value_dim
    return f"{layers.layers} layers of {kind.value}{window}: {layers.kv_heads} x {size}{ranks}"


def smaller(case: Case, chosen: Attempt) -> list[Alternative]:
    """Each smaller size, legal or not, and why it is not the one."""
    rejected = []
    attempts = list(case.attempts(chosen.nodes)) if chosen.tensor_parallel > 1 else []
    for size in range(1, chosen.tensor_parallel):
        tried = [one for one in attempts if one.tensor_parallel == size]
        broken = illegal(case.shape, case.offer, size)
        if tried or broken:
            reason = _why_not(case, tried) if tried else "; ".join(broken)
            rejected.append(
                Alternative(
                    accelerator=case.offer.profile.name, tensor_parallel_size=size, reason=reason
                )
            )
    return rejected


def _why_not(case: Case, tried: Sequence[Attempt]) -> str:
    best = max(tried, key=nearness)
    if best.context < case.asked.context.least:
        return too_much(best, case.asked.context.least)
    return f"leaves a context of {best.context} tokens"


def nearness(tried: Attempt) -> tuple[int, int]:
    return tried.context, tried.usable - tried.spent


def too_much(tried: Attempt, context: int) -> str:
    needed = tried.needed(context)
    weights, engine = format_bytes(tried.weights), format_bytes(tried.spent - tried.weights)
    return (
        f"{weights} of weights, {engine} for the engine and a context of {context} tokens need "
        f"{format_bytes(needed)} and {tried.offer.profile.name} has {format_bytes(tried.usable)}: "
        f"{format_bytes(needed - tried.usable)} too much"
    )
