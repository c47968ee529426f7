"""What vLLM 0.32 prints when it fails, line for line, and how it then ends."""

import signal
from dataclasses import dataclass

_CORE = "(EngineCore pid=77) ERROR 11-21 03:05:19 [core.py:1188] "
_WORKER = "(Worker pid=78) ERROR 11-21 03:05:37 [multiproc_executor.py:847] "
_SEE = "See https://docs.vllm.ai/en/latest/configuration/conserving_memory/ for more details."
_FOLLOWS = (
    '(APIServer pid=7)   File "/vllm/v1/engine/utils.py", line 1431, in wait_for_engine_startup',
    (
        "(APIServer pid=7) RuntimeError: Engine core initialization failed. See root cause above. "
        "Failed core proc(s): {'EngineCore_DP0': 1}"
    ),
)


@dataclass(frozen=True)
class Crash:
    """`returncode` is negative for a signal that the engine sends itself."""

    lines: tuple[str, ...]
    returncode: int = 1


def cpu_kv(asked_bytes: int, free_bytes: int, total_bytes: int = 2500 * 2**20) -> Crash:
    """v1/worker/cpu_worker.py, determine_available_memory; GiB with two digits, as format_gib."""
    free, total, asked = (round(size / 2**30, 2) for size in (free_bytes, total_bytes, asked_bytes))
    return Crash(
        (
            _WORKER + f"ValueError: Available memory on node 0 ({free}/{total} GiB) on kv cache "
            f"allocation is less than requested memory for kv ({asked} GiB). Decrease "
            "--kv-cache-memory-bytes, VLLM_CPU_KVCACHE_SPACE, or reduce CPU memory used by other "
            "processes.",
            *_FOLLOWS,
        )
    )


def kv(max_model_len: int, needed_bytes: int, have_bytes: int, fits_tokens: int) -> Crash:
    """v1/core/kv_cache_utils.py, when one request of the longest context does not fit."""
    needed, have = needed_bytes / 2**30, have_bytes / 2**30
    return Crash(
        (
            _CORE + "EngineCore failed to start.",
            _CORE + "ValueError: To serve at least one request with the model's max seq len "
            f"({max_model_len}), ({needed:.2f} GiB KV cache is needed, which is larger than the "
            f"available KV cache memory ({have:.2f} GiB). Based on the available memory, the "
            f"estimated maximum model length is {fits_tokens}. Try increasing "
            "`gpu_memory_utilization` (which also controls CPU memory on "
            "the CPU backend) or decreasing `max_model_len` when initializing the engine. " + _SEE,
            *_FOLLOWS,
        )
    )


def busy_gpu(total_bytes: int, free_bytes: int, fraction: float) -> Crash:
    """v1/worker/utils.py, request_memory."""
    free, total = (round(size / 2**30, 2) for size in (free_bytes, total_bytes))
    asked = round(total_bytes * fraction / 2**30, 2)
    return Crash(
        (
            _WORKER
            + f"ValueError: Free memory on device cuda:0 ({free}/{total} GiB) on startup is "
            f"less than desired GPU memory utilization ({fraction}, {asked} GiB). Decrease GPU "
            "memory utilization or reduce GPU memory used by other processes.",
            *_FOLLOWS,
        )
    )


CRASHES = {
    "oom": Crash(
        (
            _WORKER + "WorkerProc failed to start.",
            _WORKER + "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.32 GiB. "
            "GPU 0 has a total capacity of 79.11 GiB of which 1.05 GiB is free. Process 1 has "
            "78.05 GiB memory in use.",
            *_FOLLOWS,
        )
    ),
    "kv": kv(131072, 16 * 2**30, int(9.25 * 2**30), 75776),
    "nokv": Crash(
        (
            (
                "(Worker pid=78) INFO 11-21 03:05:37 [gpu_worker.py:759] Available KV cache memory: "
                "-1.37 GiB"
            ),
            _CORE + "ValueError: No available memory for the cache blocks. Try increasing "
            "`gpu_memory_utilization` when initializing the engine (this flag also controls CPU "
            "memory reservation on the CPU backend, despite its name). " + _SEE,
            *_FOLLOWS,
        )
    ),
    "sampler": Crash(
        (
            (
                "(EngineCore pid=77) INFO 11-21 03:05:19 [kv_cache_utils.py:2327] GPU KV cache size: "
                "412,304 tokens, Maximum concurrency for 8,192 tokens per request: 50.33x"
            ),
            _WORKER + "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 502.00 MiB. "
            "GPU 0 has a total capacity of 79.11 GiB of which 120.00 MiB is free. Including "
            "non-PyTorch memory, this process has 78.98 GiB memory in use.",
            _WORKER + "The above exception was the direct cause of the following exception:",
            _WORKER + "RuntimeError: CUDA out of memory occurred when warming up sampler with "
            "1024 dummy requests. Please try lowering `max_num_seqs` or `gpu_memory_utilization` "
            "when initializing the engine.",
            *_FOLLOWS,
        )
    ),
    "cpu-kv": cpu_kv(asked_bytes=450 * 2**20, free_bytes=256 * 2**20),
    "busy-gpu": busy_gpu(int(79.11 * 2**30), int(12.34 * 2**30), 0.92),
    "tp": Crash(
        (
            (
                "(APIServer pid=7) pydantic_core._pydantic_core.ValidationError: 1 validation error "
                "for VllmConfig"
            ),
            (
                "(APIServer pid=7)   Value error, Total number of attention heads (32) must be "
                "divisible by tensor parallel size (3). [type=value_error, input_value=ArgsKwargs()]"
            ),
        )
    ),
    "architecture": Crash(
        (
            (
                "(APIServer pid=7)   Value error, Model architectures ['FooForCausalLM'] are not "
                "supported for now. Supported architectures: dict_keys(['LlamaForCausalLM']) "
                "[type=value_error, input_value=ArgsKwargs()]"
            ),
        )
    ),
    "sigill": Crash(
        (
            (
                "(EngineCore pid=77) ERROR 11-21 03:06:00 [multiproc_executor.py:315] Worker proc "
                "VllmWorker-0 died unexpectedly (exit code: -4), shutting down executor."
            ),
            (
                "(APIServer pid=7) ERROR 11-21 03:06:01 [async_llm.py:755] EngineCore encountered an "
                "issue. See stack trace (above) for the root cause."
            ),
        )
    ),
    "flag": Crash(
        (
            "usage: vllm serve [model_tag] [options]",
            "vllm: error: unrecognized arguments: --no-such-flag 3",
        ),
        returncode=2,
    ),
    "nospace": Crash(("OSError: [Errno 28] No space left on device: '/berth/run/cache'",)),
    "port": Crash(("OSError: [Errno 98] Address already in use",)),
    "sigkill": Crash((), returncode=-signal.SIGKILL),
    "unknown": Crash(("(APIServer pid=7) ZeroDivisionError: division by zero",)),
}
