"""What a pod's accelerators have of memory, and what of it is free, by their driver.

Only the driver knows when a process's memory is back: the engine's own word is not proof
(vllm#47654), and a process that has ended may still be taken apart by the kernel.
"""

import asyncio
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from berth_api.pool_server import PoolConfig
from berth_server.errors import CardsUnreadable, ConfigurationError
from berth_server.ledger import HOST

_MIB: Final = 2**20
_TOOL: Final = "nvidia-smi"
_MEMORY: Final = "index,memory.total,memory.free"
_NAME: Final = "index,name"
# A look takes a tenth of a second; a driver that hangs must not hang the pod.
_LOOK_SECONDS: Final = 20.0


@dataclass(frozen=True)
class Memory:
    """Bytes of one card."""

    total: int
    free: int


async def read() -> dict[int, Memory]:
    """By index. Raises CardsUnreadable."""
    return parse(await asyncio.to_thread(_asked, _MEMORY))


def kinds() -> str:
    """What the cards are called, each name once; it blocks. Raises CardsUnreadable."""
    said = _asked(_NAME)
    rows = [line.partition(", ") for line in said.splitlines()]
    if not rows or not all(index.isdecimal() and name for index, _, name in rows):
        raise CardsUnreadable(f"{_TOOL} says {said[:200]!r}")
    return "\n".join(sorted({name.strip() for _, _, name in rows}))


def _asked(fields: str) -> str:
    """The exit code says nothing here: PID 1 may have collected it as an orphan's."""
    query = (_TOOL, f"--query-gpu={fields}", "--format=csv,noheader,nounits")
    try:
        done = subprocess.run(  # noqa: S603 -- constants
            query, capture_output=True, timeout=_LOOK_SECONDS, check=False, text=True
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError) as error:
        raise CardsUnreadable(f"{_TOOL}: {error}") from error
    return done.stdout or done.stderr


def parse(text: str) -> dict[int, Memory]:
    """Lines of index, total and free in MiB: "0, 81559, 81004". Raises CardsUnreadable."""
    try:
        rows = [[int(cell) for cell in line.split(",")] for line in text.splitlines() if line]
        found = {index: Memory(total * _MIB, free * _MIB) for index, total, free in rows}
    except ValueError as error:
        raise CardsUnreadable(f"{_TOOL} says {text[:200]!r}") from error
    if not found:
        raise CardsUnreadable(f"{_TOOL} names no card")
    return found


Driver = Callable[[], Awaitable[dict[int, Memory]]]


async def before_any_engine(config: PoolConfig, driver: Driver = read) -> dict[int, Memory]:
    """What a pool's pod has; on CPU it is one card. Raises ConfigurationError."""
    if config.device == "cpu":
        if config.memory_bytes is None:
            raise ConfigurationError("memoryBytes: a pool on CPU needs what its engines may share")
        return {HOST: Memory(config.memory_bytes, config.memory_bytes)}
    if config.device != "cuda":
        raise ConfigurationError(
            f"device {config.device}: a pool needs cuda or cpu, for only there it is known how to "
            "see that memory is free again; deploy these models without a pool"
        )
    try:
        found = await driver()
    except CardsUnreadable as error:
        raise ConfigurationError(f"cards {config.cards}: {error}") from error
    if not 0 < config.cards <= len(found):
        raise ConfigurationError(
            f"cards {config.cards}: the driver shows {len(found)}; "
            "give the pod as many accelerators as the pool says"
        )
    return {index: found[index] for index in sorted(found)[: config.cards]}
