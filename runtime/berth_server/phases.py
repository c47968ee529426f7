"""What a line of the engine's log says: its phase, how far that is, what it measured. Pure.

The lines are vLLM 0.32's, of the CPU and the GPU build. A line that another version words
otherwise costs precision, nothing else: readiness never depends on the log.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from berth_api.server import Measured, Phase

_GIB: Final = 2**30
# What matters of a line is at its beginning; what follows may be a stranger's text.
_MOST_CHARACTERS: Final = 1000
# Digits enough for any card and any context, and too few to be no number.
_GIB_NUMBER: Final = r"\d{1,7}(?:\.\d{1,9})?"
_COUNT: Final = r"\d[\d,]{0,15}"
# Until the first token there is something left, however late the start is.
_LEAST_ETA_SECONDS: Final = 1
# The phases up to serving, in order; a log line never moves a pod backwards.
_ORDER: Final = (
    Phase.PENDING,
    Phase.FETCHING,
    Phase.STARTING,
    Phase.LOADING,
    Phase.COMPILING,
    Phase.WARMING,
)


@dataclass(frozen=True)
class Reading:
    """What one line says. None is: nothing."""

    phase: Phase | None = None
    percent: int | None = None
    measured: Measured = field(default_factory=Measured)


@dataclass(frozen=True)
class _Rule:
    pattern: re.Pattern[str]
    phase: Phase | None
    read: Callable[[re.Match[str]], Reading] = lambda _: Reading()


def _percent(match: re.Match[str]) -> Reading:
    return Reading(percent=int(match[1]))


def _measured(*fields: str, unit: int = _GIB) -> Callable[[re.Match[str]], Reading]:
    """Groups of the pattern, in the order of `fields`, as whole bytes or tokens."""

    def read(match: re.Match[str]) -> Reading:
        numbers = (max(0, int(float(text.replace(",", "")) * unit)) for text in match.groups())
        return Reading(measured=Measured(**dict(zip(fields, numbers, strict=True))))

    return read


def _rule(
    pattern: str,
    phase: Phase | None,
    read: Callable[[re.Match[str]], Reading] = lambda _: Reading(),
) -> _Rule:
    return _Rule(re.compile(pattern), phase, read)


# Where the engine says it: v1/worker/gpu_worker.py, gpu_model_runner.py, cpu_worker.py and
# v1/core/kv_cache_utils.py of 0.32.
_RULES: Final = (
    # tqdm on stderr; its percent is by shard, not by byte.
    _rule(r"Loading \S+ checkpoint shards:\s+(\d{1,3})% Completed", Phase.LOADING, _percent),
    # One line per rank; the loader's own clock starts here.
    _rule(r"Starting to load model ", Phase.LOADING),
    # The GPU build only; bytes of this rank.
    _rule(
        rf"Model loading took ({_GIB_NUMBER}) GiB memory",
        Phase.WARMING,
        _measured("weights_bytes"),
    ),
    _rule(r"Loading weights took ", Phase.WARMING),
    # Any of these says that inductor is at work, or that its cache was found.
    _rule(r"Warming up model for the compilation", Phase.COMPILING),
    _rule(r"Using cache directory: \S+ for vLLM's torch\.compile", Phase.COMPILING),
    _rule(r"Dynamo bytecode transform time", Phase.COMPILING),
    _rule(r"torch\.compile took ", Phase.WARMING),
    _rule(r"Initial profiling/warmup run took", Phase.WARMING),
    # What is left for the KV cache: profiled, explicit on CPU, explicit on GPU.
    _rule(
        rf"Available KV cache memory: ({_GIB_NUMBER}) GiB",
        Phase.WARMING,
        _measured("kv_cache_bytes"),
    ),
    _rule(
        rf"(?:Explicitly|Auto) set \(({_GIB_NUMBER})/[\d.]+\) GiB for KV cache",
        Phase.WARMING,
        _measured("kv_cache_bytes"),
    ),
    _rule(rf"reserved ({_GIB_NUMBER}) GiB memory for KV Cache", None, _measured("kv_cache_bytes")),
    # Frames of videos that are decoded on the GPU (multimodal/gpu_ipc_memory.py), after the rest.
    _rule(rf"KV cache memory reduced to ({_GIB_NUMBER}) GiB", None, _measured("kv_cache_bytes")),
    _rule(
        rf"KV cache size: ({_COUNT}) tokens",
        Phase.WARMING,
        _measured("kv_cache_tokens", unit=1),
    ),
    # CUDA graphs, by shape; the bar runs twice. What they took is a difference of two free
    # memories, and below 0 when something else was freed meanwhile.
    _rule(r"Capturing CUDA graphs \([^)]*\):\s+(\d{1,3})%", Phase.WARMING, _percent),
    _rule(
        rf"Graph capturing finished in .*?took (-?{_GIB_NUMBER}) GiB",
        Phase.WARMING,
        _measured("graph_bytes"),
    ),
    _rule(
        rf"CUDA graph pool memory: (-?{_GIB_NUMBER}) GiB \(actual\), (-?{_GIB_NUMBER}) GiB "
        r"\(estimated\)",
        None,
        _measured("graph_bytes", "graph_estimate_bytes"),
    ),
    # Where the KV cache's size is the engine's own choice. Its peak holds the graphs' estimate.
    _rule(
        rf"Actual usage is ({_GIB_NUMBER}) GiB for consumed memory \(weights \+ non-torch\), "
        rf"({_GIB_NUMBER}) GiB for peak activation, and (-?{_GIB_NUMBER}) GiB for CUDAGraph memory",
        None,
        _measured("consumed_bytes", "activation_bytes", "graph_bytes"),
    ),
    # Said by the API server before it starts the engine, and again where auto was resolved.
    _rule(rf"Using max model len ({_COUNT})", None, _measured("max_model_len", unit=1)),
    _rule(
        rf"Auto-fit max_model_len: (?:.*?context length|reduced from \d+ to) ({_COUNT})",
        None,
        _measured("max_model_len", unit=1),
    ),
    _rule(r"Starting vLLM server on ", Phase.WARMING),
)

_NOTHING: Final = Reading()


def read(line: str) -> Reading:
    """What `line` says; the first rule that matches decides."""
    for rule in _RULES:
        if match := rule.pattern.search(line, 0, _MOST_CHARACTERS):
            return replace(rule.read(match), phase=rule.phase)
    return _NOTHING


def advanced(current: Phase, said: Phase | None) -> Phase:
    """The later of two phases before serving; from SERVING on the log decides nothing."""
    if said is None or current not in _ORDER:
        return current
    return max(current, said, key=_ORDER.index)


def merged(old: Measured, new: Measured) -> Measured:
    """`old` with what `new` knows.

    The activation peak is told with the graphs' estimate in it (`peak_activation_memory`), and
    that estimate on a line before.
    """
    known = new.model_dump(exclude_none=True)
    if new.activation_bytes is not None:
        estimate = old.graph_estimate_bytes or 0
        known["activation_bytes"] = max(0, new.activation_bytes - estimate)
    return old.model_copy(update=known)


def eta_seconds(
    phase: Phase, elapsed_seconds: float, expected_start_seconds: int | None
) -> int | None:
    """Until the pod serves; None where nobody measured a start of this model before."""
    if phase is Phase.SERVING:
        return 0
    if expected_start_seconds is None or phase not in _ORDER:
        return None
    return max(_LEAST_ETA_SECONDS, round(expected_start_seconds - elapsed_seconds))
