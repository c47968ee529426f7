import time

import pytest

from berth_api.server import Measured, Phase
from berth_server import phases

AT_ONCE_SECONDS = 5  # what goes back and forth takes minutes
PREFIX = "(Worker pid=7119) INFO 11-21 01:03:37 [x.py:260] "


@pytest.mark.parametrize(
    ("line", "phase", "percent"),
    [
        ("Starting to load model /berth/model/m...", Phase.LOADING, None),
        (
            "Loading safetensors checkpoint shards:  50% Completed | 1/2 [00:00<00:00, 99.12it/s]",
            Phase.LOADING,
            50,
        ),
        ("Loading weights took 1.13 seconds", Phase.WARMING, None),
        ("Warming up model for the compilation...", Phase.COMPILING, None),
        (
            "[backbone] Using cache directory: /c/vllm for vLLM's torch.compile",
            Phase.COMPILING,
            None,
        ),
        ("[backbone] torch.compile took 21.40 s in total", Phase.WARMING, None),
        ("Capturing CUDA graphs (mixed prefill-decode, PIECEWISE):  45%|██  |", Phase.WARMING, 45),
        ("Starting vLLM server on http://0.0.0.0:8000", Phase.WARMING, None),
        ("Resolved architecture: LlamaForCausalLM", None, None),
        ("", None, None),
    ],
)
def test_a_line_tells_the_phase(line, phase, percent):
    reading = phases.read(PREFIX + line)
    assert (reading.phase, reading.percent) == (phase, percent)


@pytest.mark.parametrize(
    ("line", "measured"),
    [
        (
            "Model loading took 14.99 GiB memory and 3.512 seconds",
            Measured(weights_bytes=int(14.99 * 2**30)),
        ),
        ("Available KV cache memory: 52.10 GiB", Measured(kv_cache_bytes=int(52.10 * 2**30))),
        (
            "Explicitly set (1.0/23.54) GiB for KV cache on node 0.",
            Measured(kv_cache_bytes=2**30),
        ),
        (
            "Initial free memory 78.1 GiB, reserved 2.00 GiB memory for KV Cache as specified",
            Measured(kv_cache_bytes=2 * 2**30),
        ),
        (
            "CPU KV cache size: 46,592 tokens, Maximum concurrency for 2,048 tokens: 22.75x",
            Measured(kv_cache_tokens=46592),
        ),
        ("GPU KV cache size: 1,024 tokens, ", Measured(kv_cache_tokens=1024)),
        (
            "Graph capturing finished in 9 secs, took 0.50 GiB",
            Measured(graph_bytes=2**29),
        ),
        (
            (
                "Actual usage is 15.1 GiB for consumed memory (weights + non-torch), 1.00 GiB for peak "
                "activation, and 0.50 GiB for CUDAGraph memory. Replace"
            ),
            Measured(consumed_bytes=int(15.1 * 2**30), activation_bytes=2**30, graph_bytes=2**29),
        ),
        (
            (
                "Reserving 1.5 GiB of GPU memory for frontend multimodal decoding (1.0 GiB raw-frame "
                "semaphore budget); KV cache memory reduced to 50.60 GiB."
            ),
            Measured(kv_cache_bytes=int(50.60 * 2**30)),
        ),
        (
            "Graph capturing finished in 9 secs, took -0.45 GiB",
            Measured(graph_bytes=0),
        ),
        (
            "CUDA graph pool memory: 0.50 GiB (actual), 0.75 GiB (estimated), difference: 0.25",
            Measured(graph_bytes=2**29, graph_estimate_bytes=3 * 2**28),
        ),
        (
            "Auto-fit max_model_len: reduced from 131072 to 75776 to fit in available KV cache",
            Measured(max_model_len=75776),
        ),
        ("Using max model len 2048", Measured(max_model_len=2048)),
        (
            "Auto-fit max_model_len: full model context length 2048 fits in available KV cache",
            Measured(max_model_len=2048),
        ),
    ],
)
def test_a_line_tells_what_was_measured(line, measured):
    assert phases.read(PREFIX + line).measured == measured


def test_phases_only_advance():
    assert phases.advanced(Phase.STARTING, Phase.LOADING) is Phase.LOADING
    assert phases.advanced(Phase.WARMING, Phase.LOADING) is Phase.WARMING
    assert phases.advanced(Phase.LOADING, None) is Phase.LOADING


@pytest.mark.parametrize("phase", [Phase.SERVING, Phase.DRAINING, Phase.FAILED])
def test_once_up_the_log_moves_nothing(phase):
    assert phases.advanced(phase, Phase.WARMING) is phase


def test_what_is_known_is_not_forgotten():
    old = Measured(weights_bytes=1, kv_cache_bytes=2)
    new = Measured(kv_cache_bytes=3)
    assert phases.merged(old, new) == Measured(weights_bytes=1, kv_cache_bytes=3)


def test_the_graphs_estimate_is_no_part_of_the_activations():
    """gpu_worker.py: peak_activation_memory = transient peak + cudagraph_memory_estimate."""
    lines = (
        "CUDA graph pool memory: 0.50 GiB (actual), 0.75 GiB (estimated), difference: 0.25 GiB",
        (
            "Actual usage is 15.0 GiB for consumed memory (weights + non-torch), 2.0 GiB for peak "
            "activation, and 0.50 GiB for CUDAGraph memory."
        ),
    )
    found = Measured()
    for line in lines:
        found = phases.merged(found, phases.read(PREFIX + line).measured)
    assert found.activation_bytes == int(1.25 * 2**30)
    assert phases.merged(found, Measured(kv_cache_tokens=1)).activation_bytes == int(1.25 * 2**30)


def test_the_estimate_counts_down_and_never_reaches_zero_before_serving():
    assert phases.eta_seconds(Phase.LOADING, 10.0, 60) == 50
    assert phases.eta_seconds(Phase.WARMING, 100.0, 60) == 1
    assert phases.eta_seconds(Phase.SERVING, 100.0, 60) == 0


def test_without_a_measured_start_nothing_is_promised():
    assert phases.eta_seconds(Phase.LOADING, 10.0, None) is None
    assert phases.eta_seconds(Phase.FAILED, 10.0, 60) is None


@pytest.mark.parametrize(
    "line",
    [
        "Model loading took .. GiB memory",
        "Available KV cache memory: 1.2.3 GiB",
        "Available KV cache memory: " + "9" * 400 + " GiB",
        "Loading safetensors checkpoint shards: " + "9" * 5000 + "% Completed",
        "KV cache size: ,,, tokens",
        "KV cache size: " + "9" * 400 + " tokens",
        "Graph capturing finished in 1 s, took -... GiB",
    ],
)
def test_what_is_no_number_is_not_measured(line):
    assert phases.read(line).measured == Measured()


@pytest.mark.parametrize("piece", ["Capturing CUDA graphs (", "Graph capturing finished in "])
def test_a_line_that_nearly_matches_many_times_is_read_at_once(piece):
    started = time.process_time()
    phases.read(piece * 10_000)
    assert time.process_time() - started < AT_ONCE_SECONDS
