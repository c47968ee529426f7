"""How many requests a replica is aimed at, where the user leaves it to Berth.

What one replica runs in one batch: more would wait in the engine, where another replica could have
taken them. The batch is bounded by `max_num_seqs` and by how many sequences the KV cache holds;
sequences of the full context are rare, so the cache is asked for requests of a usual length.
"""

from typing import Final

from berth_api.shape import Failure
from berth_api.spec import QueueDepth
from berth_operator.core.model import architecture
from berth_operator.core.planner.concurrency import concurrency
from berth_operator.core.revision import Revision

# Prompt and answer together: the mean of the public traces of conversations and of code is 1,400
# and 2,200 tokens (Azure's LLM inference traces, 2023).
USUAL_TOKENS: Final = 2048


def per_replica(asked: QueueDepth | str, revision: Revision) -> tuple[int, str]:
    """Requests per replica, running and waiting, and why so many."""
    if isinstance(asked, int):
        return asked, "spec.scaling.targetQueueDepth"
    plan = revision.plan
    tokens = min(plan.max_model_len, USUAL_TOKENS)
    shape = architecture.read(revision.shape)
    # A stored shape that this version cannot read has its plan still.
    held = plan.max_concurrency if isinstance(shape, Failure) else concurrency(shape, plan, tokens)
    if 0 < held < plan.max_num_seqs:
        return held, f"auto: the KV cache holds {held} sequences of {tokens} tokens"
    return (
        plan.max_num_seqs,
        f"auto: maxNumSeqs, the engine's largest batch, is {plan.max_num_seqs}",
    )
