"""Runs inside the engine's Python: which tensor-parallel sizes does the engine itself accept?

For each model and size it runs the engine's own configuration check and builds the engine's own
model, quantised layers included, on the meta device as rank 0 of a group of that size. Nothing is
communicated while a model is built, so the group is a stand-in. The engine here is the CPU build:
it is told that it runs on an NVIDIA card, as its choice of kernels, which decides what
quantised shapes it takes, depends on the card. Asks nothing of Berth.

stdin:  {"cases": [{"config": {...}, "sizes": [1, 2], "capability": [9, 0], "data": false}]}
stdout: {"engine": ..., "verdicts": [{"1": null, "2": "why not"}], "dataParallel": [architecture],
         "quantizations": [method]}
"""

import contextlib
import copy
import importlib
import importlib.abc
import importlib.machinery
import json
import os
import sys
import tempfile
import types
from pathlib import Path

os.environ["VLLM_LOGGING_LEVEL"] = "ERROR"
os.environ.setdefault("HF_HUB_OFFLINE", "1")


class Anything(type):
    """A class whose every attribute is another such class: stands for what is only imported."""

    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything(name, (), {})

    def __call__(cls, *_arguments, **_options):
        return None


class Media(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Image and sound libraries, which the CPU image leaves out and building a model does not use.

    The vision models import them at their top.
    """

    ABSENT = ("torchvision", "torchaudio", "timm")

    def find_spec(self, fullname, _path=None, _target=None):
        if fullname.partition(".")[0] not in self.ABSENT:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec):
        module = types.ModuleType(spec.name)
        module.__getattr__ = lambda name: Anything.__getattr__(Anything, name)
        return module

    def exec_module(self, module):
        pass


import torch  # noqa: E402
import vllm  # noqa: E402
from vllm.config import ModelConfig, ParallelConfig, VllmConfig  # noqa: E402
from vllm.distributed import parallel_state  # noqa: E402
from vllm.model_executor.layers import quantization  # noqa: E402
from vllm.model_executor.model_loader.utils import initialize_model  # noqa: E402
from vllm.model_executor.models import registry  # noqa: E402
from vllm.platforms import PlatformEnum, current_platform  # noqa: E402
from vllm.platforms.interface import DeviceCapability  # noqa: E402
from vllm.triton_utils import triton  # noqa: E402
from vllm.utils.torch_utils import set_default_torch_dtype  # noqa: E402


class Kernels(torch._ops._OpNamespace):
    """The compiled kernels that only a CUDA build has; named while a model is built, never run."""

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("__"):
                raise
            return Anything(name, (), {})


def stand_on_a_card():
    platform = type(current_platform)
    platform._enum = PlatformEnum.CUDA
    platform.supported_quantization = []  # empty: all
    platform.get_device_capability = classmethod(lambda cls, device_id=0: cls.capability)
    # vllm/platforms/cuda.py supports_fp8
    platform.supports_fp8 = classmethod(lambda cls: cls.capability >= DeviceCapability(8, 9))
    for namespace in ("_C", "_moe_C"):
        setattr(torch.ops, namespace, Kernels(namespace))
    # Triton's stand-in has no numbers in its configurations, which some models sort when imported.
    triton.Config = lambda kwargs, num_stages=1, num_warps=1, **_: types.SimpleNamespace(
        kwargs=kwargs, num_stages=num_stages, num_warps=num_warps
    )
    # Else each model class is inspected in a process of its own, ten seconds each.
    registry._LazyRegisteredModel.inspect_model_cls = lambda lazy: (
        registry._ModelInfo.from_model_cls(lazy.load_model_cls())
    )


class Group(types.SimpleNamespace):
    """A group of ranks to which nothing is sent."""

    def __init__(self, size):
        process = types.SimpleNamespace(size=lambda: size, rank=lambda: 0)
        super().__init__(
            world_size=size,
            rank=0,
            rank_in_group=0,
            local_rank=0,
            ranks=list(range(size)),
            is_first_rank=True,
            is_last_rank=True,
            unique_name="stand-in",
            device_group=process,
            cpu_group=process,
            device_communicator=None,
            use_device_communicator=False,
        )


def join_group(size):
    for name in ("_WORLD", "_TP", "_ETP", "_EP"):
        setattr(parallel_state, name, Group(size))
    for name in ("_PP", "_DP", "_PCP", "_DCP", "_EPLB"):
        setattr(parallel_state, name, Group(1))


def build(folder, size, *, data):
    """Raises whatever the engine raises."""
    join_group(size)
    mode = {"mm_encoder_tp_mode": "data"} if data else {}
    checked = ModelConfig(model=folder, skip_tokenizer_init=True, **mode)
    parallel = copy.copy(ONE_RANK)
    parallel.tensor_parallel_size = parallel.world_size = size
    checked.verify_with_parallel_config(parallel)
    config = VllmConfig(model_config=checked, parallel_config=parallel)
    with set_default_torch_dtype(checked.dtype), torch.device("meta"):
        model = initialize_model(config)
        for layer in model.modules():
            size_state(layer)


def size_state(layer):
    """What layers with a state check no earlier than before, and in, their first pass."""
    if hasattr(layer, "get_state_shape"):
        layer.get_state_shape()
    if hasattr(layer, "fix_query_key_value_ordering"):
        projections = (layer.in_proj_qkvz, layer.in_proj_ba)
        rows = (torch.empty(1, one.output_size_per_partition) for one in projections)
        layer.fix_query_key_value_ordering(*rows)


def why_not(folder, size, *, data):
    try:
        build(folder, size, data=data)
    except Exception as problem:  # noqa: BLE001
        return f"{type(problem).__name__}: {problem}"
    return None


def verdicts(case):
    type(current_platform).capability = DeviceCapability(*case["capability"])
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "config.json").write_text(json.dumps(case["config"]))
        return {
            str(size): why_not(folder, size, data=case.get("data", False)) for size in case["sizes"]
        }


def vision_models_with_data_parallel():
    """vllm/model_executor/models/interfaces.py supports_multimodal_encoder_tp_data."""
    found = []
    for architecture, (module, name) in registry._MULTIMODAL_MODELS.items():
        with contextlib.suppress(
            ImportError, AttributeError
        ):  # what needs a compiled extension to import
            model = getattr(importlib.import_module(f"vllm.model_executor.models.{module}"), name)
            if getattr(model, "supports_encoder_tp_data", False):
                found.append(architecture)
    return sorted(found)


if __name__ == "__main__":
    sys.meta_path.append(Media())
    stand_on_a_card()
    ONE_RANK = ParallelConfig(tensor_parallel_size=1, distributed_executor_backend="mp")
    answer = {
        "engine": vllm.__version__,
        "verdicts": [verdicts(case) for case in json.load(sys.stdin)["cases"]],
        "dataParallel": vision_models_with_data_parallel(),
        "quantizations": sorted(
            set(quantization.QUANTIZATION_METHODS)
            - set(quantization.DEPRECATED_QUANTIZATION_METHODS)
        ),
    }
    print(json.dumps(answer))
