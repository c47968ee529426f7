"""Ends a process that lives but does not work: a zombie is worse than a restart.

A watch that dies and a Lease that another holds end the process by themselves; what is left are an
event loop that stands still and a look that never ends.
"""

import asyncio
import faulthandler
from typing import Any, Final

from berth_operator.workqueue import WorkQueue

BEAT_SECONDS: Final = 5.0
# A full garbage collection or a throttled container stalls the loop for a second or two.
STALLED_SECONDS: Final = 60.0
# A look writes at most some twenty objects, each within the client's 5 s.
STUCK_SECONDS: Final = 180.0


async def watch() -> None:
    """For ever. Should the loop stand still, the process ends with every thread's traceback."""
    try:
        while True:
            faulthandler.dump_traceback_later(STALLED_SECONDS, exit=True)
            await asyncio.sleep(BEAT_SECONDS)
    finally:
        faulthandler.cancel_dump_traceback_later()


def problems(*queues: WorkQueue[Any]) -> list[str]:
    """What should make the kubelet restart the operator."""
    seconds = max(queue.working_seconds() for queue in queues)
    return [f"a look has taken {seconds:.0f} s"] if seconds > STUCK_SECONDS else []
