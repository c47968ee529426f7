"""What an engine's log says before it ends, and what that means: a table. Pure.

In order, from the most telling cause to the least; the comment says where vLLM 0.32 prints it.
The groups `need`, `have`, `total` and `fits` of a rule with a `short` are its numbers as data too:
memory in GiB unless the text names its unit, `fits` in tokens. No pattern goes back and forth over
the log: what stands between two of its words is bounded, or ends where it could begin anew.
"""

import re
from dataclasses import dataclass
from typing import Final

from berth_api.shape import Short
from berth_server import reasons

_SPREAD_FIX: Final = (
    "raise spec.memory.gpuMemoryFraction, shard over more GPUs, or use a larger accelerator"
)
_MEMORY_FIX: Final = "lower spec.runtime.maxNumSeqs or maxModelLen, or use a larger accelerator"


@dataclass(frozen=True)
class Rule:
    pattern: re.Pattern[str]
    reason: str
    message: str  # a template over the pattern's named groups
    fix: str
    short: Short | None = None  # of memory


def _rule(pattern: str, reason: str, message: str, fix: str, short: Short | None = None) -> Rule:
    return Rule(re.compile(pattern), reason, message, fix, short)


# torch's allocator (c10/cuda/CUDACachingAllocator.cpp), the same of CUDA and HIP.
ALLOCATION: Final = re.compile(
    r"(?:CUDA|HIP) out of memory\. Tried to allocate (?P<need>[\d.]+ \w+)\."
    r"(?: GPU \d+ has a total capacity of (?P<total>[\d.]+ \w+) of which "
    r"(?P<have>[\d.]+ \w+) is free\.)?"
)
# From this line on the KV cache has a size: what fails later fails beside it.
KV_CACHE_SIZED: Final = re.compile(r"KV cache size: [\d,]+ tokens")


RULES: Final = (
    # v1/core/kv_cache_utils.py, _check_enough_kv_cache_memory, with an estimate.
    _rule(
        r"max seq len \((?P<length>\d+)\), \((?P<need>[\d.]+) GiB KV cache is needed, which is "
        r"larger than the available KV cache memory \((?P<have>[\d.]+) GiB\)\. "
        r"Based on the available memory, the estimated maximum model length is "
        r"(?P<fits>\d{1,12})\b",
        reasons.KV_TOO_SMALL,
        "one request of {length} tokens needs {need} GiB of KV cache and {have} GiB are left",
        "set spec.runtime.maxModelLen to at most {fits}",
        Short.KV_CACHE,
    ),
    # The same where not even a short request fits.
    _rule(
        r"max seq len \((?P<length>\d+)\), \((?P<need>[\d.]+) GiB KV cache is needed, which is "
        r"larger than the available KV cache memory \((?P<have>[\d.]+) GiB\)",
        reasons.KV_TOO_SMALL,
        "one request of {length} tokens needs {need} GiB of KV cache and {have} GiB are left",
        "lower spec.runtime.maxModelLen or use a larger accelerator",
        Short.KV_CACHE,
    ),
    # The same function, when weights and activations left nothing: by how much is on the line
    # that v1/worker/gpu_worker.py, determine_available_memory, logged before.
    _rule(
        r"(?s)Available KV cache memory: (?P<have>-?[\d.]+) GiB"
        r"(?:(?!Available KV cache memory).)*?No available memory for the cache blocks",
        reasons.KV_TOO_SMALL,
        "weights and activations leave {have} GiB for the KV cache",
        _SPREAD_FIX,
        Short.KV_CACHE,
    ),
    _rule(
        r"No available memory for the cache blocks",
        reasons.KV_TOO_SMALL,
        "weights and activations leave no memory for the KV cache",
        _SPREAD_FIX,
        Short.KV_CACHE,
    ),
    # v1/worker/utils.py, request_memory, before any weight is loaded: another process holds the
    # GPU.
    _rule(
        r"Free memory on device [^(\n]{0,80}\((?P<have>[\d.]+)/(?P<total>[\d.]+) GiB\) on startup "
        r"is less than desired GPU memory utilization "
        r"\((?P<fraction>[\d.]+), (?P<need>[\d.]+) GiB\)",
        reasons.OUT_OF_MEMORY,
        "{have} of {total} GiB are free on the GPU and the engine wants {need} GiB",
        "free the GPU of other processes, or lower spec.memory.gpuMemoryFraction below {fraction}",
        Short.STARTING,
    ),
    # v1/worker/cpu_worker.py, CPUWorker.__init__.
    _rule(
        r"Available memory on node \d+ \((?P<have>[\d.]+)/(?P<total>[\d.]+) GiB\) on startup is "
        r"less than desired CPU memory utilization \((?P<fraction>[\d.]+), (?P<need>[\d.]+) GiB\)",
        reasons.OUT_OF_MEMORY,
        "{have} of {total} GiB of memory are free and the engine wants {need} GiB",
        "raise spec.resources.memory, or free memory on the node",
        Short.STARTING,
    ),
    # v1/worker/cpu_worker.py, determine_available_memory.
    _rule(
        r"Available memory on node \d+ \((?P<have>[\d.]+)/(?P<total>[\d.]+) GiB\) on kv cache "
        r"allocation is less than requested memory for kv \((?P<need>-?[\d.]+)",
        reasons.KV_TOO_SMALL,
        "{have} of {total} GiB of memory are free and the KV cache wants {need} GiB",
        "raise spec.resources.memory, or lower spec.runtime.maxModelLen or maxNumSeqs",
        Short.KV_CACHE,
    ),
    # v1/worker/gpu_model_runner.py, _dummy_sampler_run and _dummy_pooler_run: torch's own error
    # stands above it.
    _rule(
        r"out of memory occurred when warming up (?P<what>sampler|pooler)(?: \([^)\n]{0,80}\))? "
        r"with (?P<seqs>\d+) dummy requests",
        reasons.OUT_OF_MEMORY,
        "the GPU ran out of memory when the {what} was tried with {seqs} requests",
        "set spec.runtime.maxNumSeqs below {seqs}, or use a larger accelerator",
        Short.LOADING,
    ),
    _rule(
        ALLOCATION.pattern,
        reasons.OUT_OF_MEMORY,
        "the GPU ran out of memory: {need} were asked and {have} of {total} were free",
        _MEMORY_FIX,
        Short.LOADING,
    ),
    # Of a library that says no more.
    _rule(
        r"(?:CUDA|HIP) out of memory|CUDA error: out of memory",
        reasons.OUT_OF_MEMORY,
        "the GPU ran out of memory",
        _MEMORY_FIX,
        Short.LOADING,
    ),
    # Host memory: Python's own, torch's CPU allocator, a shared-memory file that does not fit.
    _rule(
        r"DefaultCPUAllocator: can't allocate memory: you tried to allocate (?P<need>\d+ bytes)",
        reasons.OUT_OF_MEMORY,
        "the pod ran out of memory: {need} were asked",
        "raise spec.resources.memory",
        Short.HOST,
    ),
    _rule(
        r"(?m)^(?:\(.*?\) )?(?:ERROR .*?\] )?MemoryError\b",
        reasons.OUT_OF_MEMORY,
        "the pod ran out of memory",
        "raise spec.resources.memory",
        Short.HOST,
    ),
    # config/model.py, verify_with_parallel_config.
    _rule(
        r"Total number of attention heads \((?P<heads>\d+)\) must be divisible by tensor parallel "
        r"size \((?P<size>\d+)\)",
        reasons.TENSOR_PARALLEL,
        "tensor-parallel size {size} does not divide {heads} attention heads",
        "set spec.parallelism.tensor to a divisor of {heads}, or to auto",
    ),
    # model_executor/layers: divide() of the KV heads, the vocabulary or a projection.
    _rule(
        r"AssertionError: (?P<what>\d+ is not divisible by \d+)",
        reasons.TENSOR_PARALLEL,
        "the model cannot be split like this: {what}",
        "set spec.parallelism.tensor to auto",
    ),
    # config/parallel.py and v1/executor: more ranks than devices.
    _rule(
        r"World size \((?P<size>\d+)\) is larger than the number of available GPUs "
        r"\((?P<have>\d+)\)",
        reasons.TENSOR_PARALLEL,
        "{size} GPUs are needed and the pod sees {have}",
        "lower spec.parallelism.tensor to {have}",
    ),
    # utils/ompmultiprocessing.py on CPU.
    _rule(
        r"Not enough allowed NUMA nodes to bind threads of (?P<size>\d+) local CPUWorkers",
        reasons.TENSOR_PARALLEL,
        "{size} ranks on CPU need as many NUMA nodes",
        "set spec.parallelism.tensor to 1",
    ),
    # model_executor/models/registry.py.
    _rule(
        r"Model architectures? (?P<what>\S+(?: \S+)??) (?:are not supported for now|was supported "
        r"in vLLM until|is not supported)",
        reasons.UNSUPPORTED,
        "this engine does not know the architecture {what}",
        "use a newer engine image in spec.runtime.image, or another model",
    ),
    # v1/worker/lora_model_runner_mixin.py, and lora/model_manager.py.
    _rule(
        r"ValueError: (?:LoRA target module )?(?P<what>\w\S*)(?: \(\w+\))? "
        r"(?:does not support LoRA yet|matched the deployment configuration but could not be)",
        reasons.UNSUPPORTED,
        "this engine has no LoRA adapters for {what}",
        "leave out spec.adapters, or use a newer engine image in spec.runtime.image",
    ),
    # transformers, of a config.json from the future.
    _rule(
        r"model type `(?P<what>[^`]+)` but Transformers does not recognize this architecture",
        reasons.UNSUPPORTED,
        "this engine does not know the model type {what}",
        "use a newer engine image in spec.runtime.image, or another model",
    ),
    # A repository with its own code; Berth never lets it run.
    _rule(
        r"requires you to execute the configuration file|trust_remote_code=True",
        reasons.UNSUPPORTED,
        "the model's repository wants its own code to be run",
        "use a model that this engine supports without trust_remote_code",
    ),
    # argparse.
    _rule(
        r"error: unrecognized arguments: (?P<what>.+)",
        reasons.CRASH_LOOP,
        "the engine does not know these arguments: {what}",
        "correct spec.runtime.extraArgs for this version of the engine",
    ),
    _rule(
        r"error: argument (?P<what>.+)",
        reasons.CRASH_LOOP,
        "the engine refused an argument: {what}",
        "correct spec.runtime.extraArgs for this version of the engine",
    ),
    # config/model.py, _get_and_verify_max_len.
    _rule(
        r"User-specified max_model_len \((?P<asked>\d+)\) is greater than the derived "
        r"max_model_len \(max_position_embeddings=(?P<limit>\d+)",
        reasons.CRASH_LOOP,
        "a context of {asked} tokens is asked and the model was trained for {limit}",
        "set spec.runtime.maxModelLen to at most {limit}, or to auto",
    ),
    # pydantic, of vLLM's own configuration classes: the line after "Value error,".
    _rule(
        r"Value error, (?P<what>.{1,600}?)(?: \[type=|$)",
        reasons.CRASH_LOOP,
        "the engine refused its configuration: {what}",
        "correct the field of spec.runtime that it names",
    ),
    # The disk under the model, or under the caches.
    _rule(
        r"No space left on device",
        reasons.NO_SPACE,
        "the pod's disk is full",
        "raise the node's ephemeral storage, or set spec.model.cache",
    ),
    # transformers and the loader, of a folder without what it should hold.
    _rule(
        r"Cannot find any model weights with `(?P<what>[^`]+)`",
        reasons.NOT_FOUND,
        "there are no safetensors files in {what}",
        "check spec.model.source",
    ),
    _rule(
        r"safetensors_rust\.SafetensorError: (?P<what>.+)",
        reasons.CHECKSUM_MISMATCH,
        "a weights file is damaged: {what}",
        "delete the cached files so that they are fetched again",
    ),
    _rule(
        r"Can't load (?:tokenizer|the configuration|image processor)[^\n]{0,80}",
        reasons.NOT_FOUND,
        "a file of the model is missing: {0}",
        "check that spec.model.source holds the tokenizer's and the processor's files",
    ),
    # setup_server.
    _rule(
        r"\[Errno 98\].{0,80}?[Aa]ddress already in use",
        reasons.CRASH_LOOP,
        "the engine's port is taken by another process of the pod",
        "remove what listens on it from spec.podTemplate",
    ),
    # A driver older than the image's CUDA, or no device in the container.
    _rule(
        r"(?P<what>CUDA driver version is insufficient|Found no NVIDIA driver|"
        r"Failed to infer device type|no CUDA-capable device is detected)",
        reasons.CRASH_LOOP,
        "the engine finds no usable GPU: {what}",
        "check the node's driver and device plugin, and the engine profile's image",
    ),
    # A kernel that this processor does not have, or AMX tiles that nobody asked for.
    _rule(
        r"died unexpectedly \(exit code: -4\)",
        reasons.CRASH_LOOP,
        "the engine used an instruction that this processor does not allow (SIGILL)",
        "set spec.runtime.dtype to float32, or use another node",
    ),
    # A worker alone was killed by the kernel.
    _rule(
        r"died unexpectedly \(exit code: -9\)",
        reasons.OUT_OF_MEMORY,
        "the kernel killed the engine's worker, most likely for memory",
        "raise spec.resources.memory",
        Short.HOST,
    ),
    # mp executor: its shared-memory ring does not fit /dev/shm; the kernel sends SIGBUS.
    _rule(
        r"died unexpectedly \(exit code: -7\)",
        reasons.OUT_OF_MEMORY,
        "the engine's worker ran out of shared memory (SIGBUS)",
        "raise spec.resources.memory: /dev/shm is part of it",
    ),
)
