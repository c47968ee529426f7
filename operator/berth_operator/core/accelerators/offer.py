"""One accelerator profile as this cluster has it: what a plan is made for."""

from dataclasses import dataclass
from typing import Final

from berth_operator.settings import AcceleratorProfile, Device, EngineProfile

# Compute capabilities: Ampere is the first with bfloat16 (vllm/platforms/cuda.py,
# check_if_supports_dtype, 0.32), Ada and Hopper are the first with FP8.
FIRST_WITH_BFLOAT16: Final = (8, 0)
FIRST_WITH_FP8: Final = (8, 9)
HOPPER: Final = 9


@dataclass(frozen=True)
class Offer:
    """A profile with the memory and cards that its nodes have, or that it declares."""

    profile: AcceleratorProfile
    engine: EngineProfile
    memory_bytes: int  # of one card, as the engine sees it; on CPU what a pod may have
    cards_per_node: int  # 0 on CPU
    sliced: bool = False  # a MIG slice or a time-sliced card, which no other can be joined to
    tenants: int = 1  # that share one card's memory
    entry: int | None = None  # index in spec.accelerators
    gpus: int | None = None  # that entry's gpusPerReplica, if it is set
    nodes: int = 0  # that have it now
    capability: tuple[int, int] | None = None  # NVIDIA's compute capability, if a label says it

    @property
    def on_cpu(self) -> bool:
        return self.engine.device is Device.CPU

    @property
    def bfloat16_units(self) -> bool:
        return self.capability is None or self.capability >= FIRST_WITH_BFLOAT16

    @property
    def fp8_units(self) -> bool:
        """Whether it computes in FP8; what no label says is taken to be recent."""
        return self.capability is None or self.capability >= FIRST_WITH_FP8

    @property
    def is_hopper(self) -> bool:
        return self.capability is not None and self.capability[0] == HOPPER
