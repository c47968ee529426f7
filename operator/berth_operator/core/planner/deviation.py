"""How far a plan was from what the engine measured, as a share of the memory that it shares out.

Pure. Bytes are of one rank; the resident set is of the whole pod.
"""

from decimal import Decimal

from berth_api.status import Memories, Plan


def card_bytes(plan: Plan) -> int:
    """One rank's whole card, of which the plan may use a fraction; on CPU its part of the pod."""
    if plan.gpu_memory_fraction is None:
        return plan.usable_bytes
    return int(plan.usable_bytes / Decimal(plan.gpu_memory_fraction))


def loaded_bytes(plan: Plan) -> int:
    """What the engine counts as its model: weights, and the slots of LoRA adapters."""
    slots = plan.adapter_slots
    return plan.weights_bytes + (slots.slot_bytes if slots else 0)


def pod_bytes(plan: Plan) -> int:
    """Planned for the engine's processes on CPU, over all ranks."""
    reserved = loaded_bytes(plan) + plan.activation_bytes + plan.graph_bytes + plan.overhead_bytes
    return (reserved + plan.kv_cache_bytes) * plan.tensor_parallel_size


def percent(plan: Plan, measured: Memories) -> dict[str, int] | None:
    """Measured less planned, rounded, by the field's name; None where nothing is comparable.

    What a pod holds counts only on CPU: on a GPU its host memory is another budget.
    """
    on_cpu = plan.gpu_memory_fraction is None
    pairs = {
        "weightsBytes": (measured.weights_bytes, loaded_bytes(plan)),
        "activationBytes": (measured.activation_bytes, plan.activation_bytes),
        "graphBytes": (measured.graph_bytes, plan.graph_bytes),
        "kvCacheBytes": (measured.kv_cache_bytes, plan.kv_cache_bytes),
        "residentBytes": (measured.resident_bytes if on_cpu else None, pod_bytes(plan)),
    }
    found = {
        name: round(100 * (seen - planned) / _whole(plan, name))
        for name, (seen, planned) in pairs.items()
        if seen is not None
    }
    return found or None


def _whole(plan: Plan, name: str) -> int:
    ranks = plan.tensor_parallel_size if name == "residentBytes" else 1
    return max(1, card_bytes(plan) * ranks)
