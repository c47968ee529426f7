"""What a pod's accelerators have of memory, and what of it is free, by their driver.

Only the driver knows when a process's memory is back: the engine's own word is not proof
(vllm#47654), and a process that has ended may still be taken apart by the kernel.
"""

import asyncio
import subprocess
from dataclasses import dataclass
from typing import Final

from berth_server.errors import CardsUnreadable, ConfigurationError

_MIB: Final = 2**20
_QUERY: Final = (
    "nvidia-smi",
    "--query-gpu=index,memory.total,memory.free",
    "--format=csv,noheader,nounits",
)
# A look takes a tenth of a second; a driver that hangs must not hang the pod.
_LOOK_SECONDS: Final = 20.0


@dataclass(frozen=True)
class Memory:
    """Bytes of one card."""

    total: int
    free: int


def supported(device: str) -> None:
    """Raises ConfigurationError where no driver is asked."""
    if device not in {"cuda", "cpu"}:
        raise ConfigurationError(
            f"device {device}: a pool needs cuda or cpu, for only there it is known how to see "
            "that memory is free again; deploy these models without a pool"
        )


async def read() -> dict[int, Memory]:
    """By index. Raises CardsUnreadable."""
    return await asyncio.to_thread(_look)


def _look() -> dict[int, Memory]:
    """The exit code says nothing here: PID 1 may have collected it as an orphan's."""
    try:
        done = subprocess.run(  # noqa: S603 -- a constant
            _QUERY, capture_output=True, timeout=_LOOK_SECONDS, check=False, text=True
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError) as error:
        raise CardsUnreadable(f"{_QUERY[0]}: {error}") from error
    return parse(done.stdout or done.stderr)


def parse(text: str) -> dict[int, Memory]:
    """Lines of index, total and free in MiB: "0, 81559, 81004". Raises CardsUnreadable."""
    try:
        rows = [[int(cell) for cell in line.split(",")] for line in text.splitlines() if line]
        found = {index: Memory(total * _MIB, free * _MIB) for index, total, free in rows}
    except ValueError as error:
        raise CardsUnreadable(f"{_QUERY[0]} says {text[:200]!r}") from error
    if not found:
        raise CardsUnreadable(f"{_QUERY[0]} names no card")
    return found
