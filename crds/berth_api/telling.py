"""What a model's spec and status say to people: the same at the terminal and on the gateway's page.

Pure; None is unknown.
"""

from typing import Final

from berth_api.quantity import parse_duration
from berth_api.spec import DEFAULT_KEEP_ALIVE, ScalingMode, Spec
from berth_api.status import Memories, Plan, Status

FOREVER: Final = "forever"


def processor(plan: Plan | None) -> str | None:
    """Of one replica: `2 x h100`."""
    if plan is None:
        return None
    ranks, nodes = plan.tensor_parallel_size, plan.pipeline_parallel_size
    if plan.device == "cpu":
        return f"{ranks} x CPU" if ranks > 1 else "CPU"
    each = f"{ranks} x {plan.accelerator}"
    return f"{nodes} nodes of {each}" if nodes > 1 else each


def measured_bytes(measured: Memories | None) -> int | None:
    """Of one GPU, or of a pod without one; None unless both of the large parts are known."""
    if measured is None or measured.resident_bytes is not None:
        return measured.resident_bytes if measured else None
    if measured.weights_bytes is None or measured.kv_cache_bytes is None:
        return None
    others = (measured.activation_bytes or 0) + (measured.graph_bytes or 0)
    return measured.weights_bytes + measured.kv_cache_bytes + others


def until(spec: Spec, status: Status) -> str | None:
    """How long it stays: `5m idle`, or `forever`. None where nothing runs.

    Of a model in a pool the pool knows better: it may be pinned, or have a time.
    """
    goes = not spec.paused and (spec.pool is not None or spec.scaling.sleeps)
    return unless_asked(spec, goes=goes) if status.replicas else None


def unless_asked(spec: Spec, *, goes: bool) -> str:
    """So long without a request, where it `goes` then."""
    keep = spec.keep_alive or DEFAULT_KEEP_ALIVE
    return f"{keep} idle" if goes and parse_duration(keep) is not None else FOREVER


def wanted(spec: Spec, status: Status) -> int | None:
    """As many replicas as are to be; None where who decides has not said yet, or a pool does."""
    if spec.pool is not None:
        return None
    if spec.scaling.mode is ScalingMode.AUTO:
        return status.scaling.desired_replicas if status.scaling else None
    return spec.replicas
