"""The nearest changes that would make a model fit, each calculated through before it is named."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from berth_api.quantity import format_bytes, mebibytes
from berth_api.spec import KvCacheDType, Spec
from berth_operator.core.accelerators.offer import Offer
from berth_operator.core.planner.attempt import Attempt
from berth_operator.core.planner.case import Case
from berth_operator.core.planner.wishes import Illegal, wishes

# Nodes with more cards than this are not for sale.
MOST_CARDS: Final = 16

_GIB: Final = 2**30
_SINGLE_STEPS: Final = 256  # GiB
_MOST_STEPS: Final = 8  # and half as much again: the largest margin is a tenth


def nearest(case: Case, best: Attempt) -> Iterator[str]:
    """The user's own changes first, then the cluster's, then the model's."""
    if best.context >= 1 and case.spec.runtime.max_model_len != "auto":
        yield f"set spec.runtime.maxModelLen to at most {best.context}"
    for text, changed in _changes(case.spec, case.offer):
        asks_for_cards = changed.parallelism.tensor == "auto"
        offer = replace(case.offer, gpus=None) if asks_for_cards else case.offer
        found = _fitting(case, offer, changed)
        if found is not None:
            yield text.format(
                size=found.tensor_parallel, seqs=found.batch.sequences, context=found.context
            )
    if case.adapters is not None and _fitting(replace(case, adapters=None), case.offer, case.spec):
        size = format_bytes(best.adapters.slots)
        yield f"leave out spec.adapters, whose slots take {size}"
    yield from (_more_memory(case, best) if case.offer.on_cpu else _other_cards(case, best))
    yield "choose a smaller model, or one quantised to fewer bits"


def _more_memory(case: Case, best: Attempt) -> Iterator[str]:
    for memory in _from(best.needed(case.asked.context.least) * best.tensor_parallel):
        resources = case.spec.resources.model_copy(update={"memory": mebibytes(memory)})
        changed = case.spec.model_copy(update={"resources": resources})
        if _fitting(case, case.offer, changed) is not None:
            yield f"set spec.resources.memory to at least {mebibytes(memory)}"
            return


def _other_cards(case: Case, best: Attempt) -> Iterator[str]:
    """Nodes with more of the same card, and cards with more memory."""
    more = replace(case.offer, cards_per_node=MOST_CARDS)
    found = None if case.offer.sliced else _fitting(case, more, case.spec)
    if found is not None and found.tensor_parallel > case.offer.cards_per_node:
        yield f"use nodes with {found.tensor_parallel} of these cards"
    for memory in _from(int(best.needed(case.asked.context.least) / case.asked.fraction)):
        larger = replace(case.offer, memory_bytes=memory)
        if _fitting(case, larger, case.spec) is not None:
            yield f"choose cards of which the engine sees at least {format_bytes(memory)}"
            return


def _from(least: int) -> Iterator[int]:
    """Whole GiB from `least` bytes up: margins and defaults grow with the memory that is there.

    A stranger's model may need any number of them, so beyond any card's the steps are larger.
    """
    first = -(-least // _GIB)
    step = max(1, first // _SINGLE_STEPS)
    return (count * _GIB for count in range(first, first + first // 2 + _MOST_STEPS, step))


def _changes(spec: Spec, offer: Offer) -> Iterator[tuple[str, Spec]]:
    """One change each to what the user set, or left alone, in the order of least harm."""
    runtime = spec.runtime
    if spec.parallelism.tensor != "auto":
        parallelism = spec.parallelism.model_copy(update={"tensor": "auto"})
        changed = spec.model_copy(update={"parallelism": parallelism})
        yield "set spec.parallelism.tensor to {size}, or to auto", changed
    if spec.memory.gpu_memory_fraction != "auto":
        memory = spec.memory.model_copy(update={"gpu_memory_fraction": "auto"})
        yield (
            "set spec.memory.gpuMemoryFraction to auto",
            spec.model_copy(update={"memory": memory}),
        )
    if runtime.max_num_seqs != "auto":
        text = "set spec.runtime.maxNumSeqs to {seqs}, or to auto"
        yield text, _with_runtime(spec, max_num_seqs="auto")
    if runtime.max_num_batched_tokens != "auto":
        text = "set spec.runtime.maxNumBatchedTokens to auto"
        yield text, _with_runtime(spec, max_num_batched_tokens="auto")
    if runtime.min_concurrency > 1:
        yield "set spec.runtime.minConcurrency to 1", _with_runtime(spec, min_concurrency=1)
    # The CPU's kernels for it want AVX-512 or AMX, which no label tells.
    if runtime.kv_cache_dtype is KvCacheDType.AUTO and offer.fp8_units and not offer.on_cpu:
        text = "set spec.runtime.kvCacheDtype to fp8 (a context of {context} tokens)"
        yield text, _with_runtime(spec, kv_cache_dtype=KvCacheDType.FP8)


def _with_runtime(spec: Spec, **changes: object) -> Spec:
    return spec.model_copy(update={"runtime": spec.runtime.model_copy(update=changes)})


def _fitting(case: Case, offer: Offer, spec: Spec) -> Attempt | None:
    """The first attempt that would do on one node; None if none would."""
    asked = wishes(case.shape, offer, spec)
    if isinstance(asked, Illegal):
        return None
    again = replace(case, offer=offer, spec=spec, asked=asked)
    fitting = (one for one in again.attempts() if one.context >= asked.context.least)
    return next(fitting, None)
