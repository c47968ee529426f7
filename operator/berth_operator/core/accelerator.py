"""One accelerator profile as this cluster has it: what a plan is made for."""

from dataclasses import dataclass

from berth_operator.settings import AcceleratorProfile, Device, EngineProfile


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
    fp8_units: bool = True  # whether it computes in FP8; without, blocks of experts are not refined

    @property
    def on_cpu(self) -> bool:
        return self.engine.device is Device.CPU
