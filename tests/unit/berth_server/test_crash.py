import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_api.shape import Short, Shortage
from berth_server import crash
from berth_server.launch import MAX_LINE_BYTES, TAIL_LINES
from standins.engine_crashes import CRASHES

GIB = 2**30
AT_ONCE_SECONDS = 10  # what goes back and forth takes hours


def explained(name: str):
    found = CRASHES[name]
    return crash.explain(found.lines, found.returncode)


@pytest.mark.parametrize(
    ("name", "reason", "said"),
    [
        ("oom", "OutOfMemory", "2.32 GiB were asked and 1.05 GiB of 79.11 GiB were free"),
        ("kv", "KVCacheTooSmall", "131072 tokens needs 16.00 GiB of KV cache and 9.25 GiB"),
        ("nokv", "KVCacheTooSmall", "leave -1.37 GiB for the KV cache"),
        ("sampler", "OutOfMemory", "the sampler was tried with 1024 requests"),
        ("cpu-kv", "KVCacheTooSmall", "0.25 of 2.44 GiB of memory are free"),
        ("busy-gpu", "OutOfMemory", "12.34 of 79.11 GiB are free"),
        ("tp", "TensorParallelInvalid", "3 does not divide 32 attention heads"),
        ("architecture", "UnsupportedArchitecture", "['FooForCausalLM']"),
        ("sigill", "CrashLoop", "SIGILL"),
        ("flag", "CrashLoop", "--no-such-flag 3"),
        ("nospace", "NoSpace", "disk is full"),
        ("port", "CrashLoop", "port is taken"),
        ("sigkill", "OutOfMemory", "SIGKILL"),
        ("unknown", "CrashLoop", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_crash_has_a_cause_with_its_numbers_and_a_fix(name, reason, said):
    failure = explained(name)
    assert failure.reason == reason
    assert said in failure.message
    assert failure.fix


@pytest.mark.parametrize(
    ("name", "shortage"),
    [
        (
            "oom",
            Shortage(
                step=Short.LOADING,
                needed_bytes=int(2.32 * GIB),
                available_bytes=int(1.05 * GIB),
                total_bytes=int(79.11 * GIB),
            ),
        ),
        (
            "kv",
            Shortage(
                step=Short.KV_CACHE,
                needed_bytes=16 * GIB,
                available_bytes=int(9.25 * GIB),
                longest_tokens=75776,
            ),
        ),
        ("nokv", Shortage(step=Short.KV_CACHE, available_bytes=int(-1.37 * GIB))),
        (
            "busy-gpu",
            Shortage(
                step=Short.STARTING,
                needed_bytes=int(72.78 * GIB),
                available_bytes=int(12.34 * GIB),
                total_bytes=int(79.11 * GIB),
            ),
        ),
        (
            "sampler",
            Shortage(
                step=Short.RUNNING,
                needed_bytes=502 * 2**20,
                available_bytes=120 * 2**20,
                total_bytes=int(79.11 * GIB),
            ),
        ),
        (
            "cpu-kv",
            Shortage(
                step=Short.KV_CACHE,
                needed_bytes=int(0.44 * GIB),
                available_bytes=GIB // 4,
                total_bytes=int(2.44 * GIB),
            ),
        ),
        ("sigkill", Shortage(step=Short.HOST)),
        ("tp", None),
        ("sigill", None),
        ("unknown", None),
    ],
)
def test_a_failure_for_memory_has_its_numbers_as_data(name, shortage):
    assert explained(name).shortage == shortage


def test_an_unknown_unit_is_no_number():
    line = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.5 lots. GPU 0 has"
    assert crash.explain([line], 1).shortage == Shortage(step=Short.LOADING)


def test_memory_without_kv_size_is_short_while_loading_and_with_it_while_running():
    oom = "RuntimeError: CUDA error: out of memory"
    sized = "GPU KV cache size: 1,024 tokens, Maximum concurrency"
    steps = [crash.explain(tail, 1).shortage for tail in ([oom], [sized, oom], [oom, sized])]
    assert [one and one.step for one in steps] == [Short.LOADING, Short.RUNNING, Short.LOADING]


def test_the_fix_names_the_context_that_fits():
    assert explained("kv").fix == "set spec.runtime.maxModelLen to at most 75776"


def test_the_root_cause_is_above_the_last_line():
    lines = (
        "(EngineCore pid=7) ValueError: the widget is upside down",
        (
            "(APIServer pid=1) RuntimeError: Engine core initialization failed. "
            "See root cause above. Failed core proc(s): {}"
        ),
    )
    assert "the widget is upside down" in crash.explain(lines, 1).message


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("ValueError: Model architectures ['A', 'B'] are not supported for now.", "Unsupported"),
        (
            "has model type `qwen9` but Transformers does not recognize this architecture",
            "Unsupported",
        ),
        ("ValueError: FooForCausalLM does not support LoRA yet.", "Unsupported"),
        (
            (
                "ValueError: LoRA target module model.layers.0.o_proj (Foo) matched the deployment "
                "configuration but could not be wrapped by any LoRA layer implementation."
            ),
            "Unsupported",
        ),
        ("RuntimeError: Cannot find any model weights with `/berth/model`", "NotFound"),
        ("safetensors_rust.SafetensorError: Error while deserializing header", "Checksum"),
        ("OSError: Can't load tokenizer for '/berth/model'. If you were", "NotFound"),
        ("AssertionError: 12 is not divisible by 8", "TensorParallel"),
        ("Worker proc VllmWorker-0 died unexpectedly (exit code: -9), shutting", "OutOfMemory"),
        ("[W1] CUDA driver version is insufficient for CUDA runtime version", "CrashLoop"),
        ("vllm: error: argument --dtype: invalid choice: 'f8'", "CrashLoop"),
        ("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes", "OutOf"),
        (
            (
                "ValueError: Available memory on node 0 (1.0/8.0 GiB) on startup is less than desired "
                "CPU memory utilization (0.92, 7.4 GiB)."
            ),
            "OutOfMemory",
        ),
        (
            (
                "ValueError: Available memory on node 0 (1.0/8.0 GiB) on kv cache allocation is less "
                "than requested memory for kv (4.0 GiB)."
            ),
            "KVCacheTooSmall",
        ),
        (
            "AssertionError: Not enough allowed NUMA nodes to bind threads of 2 local CPUWorkers.",
            "Tensor",
        ),
    ],
)
def test_other_causes_are_known(line, reason):
    assert crash.explain([line], 1).reason.startswith(reason)


def test_a_silent_end_says_so():
    assert "its log does not say why" in crash.explain([], 3).message
    assert "signal 60" in crash.explain([], -60).message


@given(st.lists(st.text(max_size=200), max_size=20), st.integers(-64, 255))
def test_any_log_is_explained(tail, returncode):
    failure = crash.explain(tail, returncode)
    assert failure.reason
    assert len(failure.message) <= crash.MAX_MESSAGE_CHARACTERS


def test_what_the_wrapper_sees_itself_is_typed_too():
    assert crash.timed_out(60, "in phase Loading").reason == "LoadTimeout"
    assert crash.stalled(120, 3).reason == "EngineStalled"


def test_a_context_longer_than_the_models_names_the_limit():
    line = (
        "Value error, User-specified max_model_len (4096) is greater than the derived "
        "max_model_len (max_position_embeddings=2048.0 or model_max_length=None in"
    )
    failure = crash.explain([line], 1)
    assert failure.message == "a context of 4096 tokens is asked and the model was trained for 2048"
    assert failure.fix == "set spec.runtime.maxModelLen to at most 2048, or to auto"


@pytest.mark.parametrize(
    "line",
    [
        "CUDA out of memory. Tried to allocate " + "9" * 400 + " GiB.",
        "CUDA out of memory. Tried to allocate 1.2.3 GiB.",
        "CUDA out of memory. Tried to allocate 9999999999999999.00 GiB.",
    ],
)
def test_memory_that_no_card_has_is_no_number(line):
    failure = crash.explain([line], 1)
    assert failure.reason == "OutOfMemory"
    assert failure.shortage.needed_bytes is None


def test_a_context_that_no_model_has_is_no_number():
    line = (
        "max seq len (8), (1.5 GiB KV cache is needed, which is larger than the available KV cache "
        "memory (1 GiB). Based on the available memory, the estimated maximum model length is "
    )
    assert crash.explain([line + "9" * 500], 1).shortage.longest_tokens is None


@pytest.mark.parametrize(
    "piece",
    [
        "Available KV cache memory: 1 GiB ",
        "Free memory on device (",
        "out of memory occurred when warming up sampler (",
        "Value error, ",
        "[Errno 98] ",
    ],
)
def test_a_log_that_nearly_matches_everywhere_is_explained_at_once(piece):
    line = (piece * MAX_LINE_BYTES)[:MAX_LINE_BYTES]
    started = time.process_time()
    crash.explain([line] * TAIL_LINES, 1)
    assert time.process_time() - started < AT_ONCE_SECONDS
