"""How many sequences of a length a plan holds at once: the question people ask of a plan.

A room of its own, because it is asked of a finished plan, also of one that is read back from a
status, when the attempts that led to it are gone.
"""

from berth_api.status import Plan
from berth_operator.core.model import kv_cache
from berth_operator.core.model.shape import ModelShape
from berth_operator.core.planner.attempt import STEPS_IN_FLIGHT, block_tokens, stage
from berth_operator.settings import Device


def concurrency(shape: ModelShape, plan: Plan, tokens: int) -> int:
    """Whole sequences of `tokens` whose KV cache fits beside each other.

    Of `plan.max_model_len` tokens it is `plan.max_concurrency`. How many of them are computed in
    one step, `plan.max_num_seqs` says.
    """
    device = Device(plan.device)
    layout = kv_cache.layout(
        stage(shape, plan.pipeline_parallel_size),
        plan.dtype if plan.kv_cache_dtype == "auto" else plan.kv_cache_dtype,
        plan.tensor_parallel_size,
        block_tokens(shape, device),
        dtype=plan.dtype,
        on_cpu=device is Device.CPU,
    )
    in_flight = STEPS_IN_FLIGHT[device] * plan.max_num_batched_tokens
    each = layout.blocks_per_sequence(tokens, in_flight)
    blocks = plan.kv_cache_bytes // layout.bytes_per_block
    # The engine keeps one block to itself (core.kv_cache).
    return max(0, blocks - 1) // each if each else 0
