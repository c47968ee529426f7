"""How a pool's engines become processes: forked where that can be, else executed.

Every child is collected here, the pod's orphans too: this process is their parent, as PID 1 or as
the subreaper that it makes itself.
"""

import asyncio
import contextlib
import ctypes
import logging
import signal
from collections.abc import AsyncGenerator, Callable
from typing import Final

from berth_api import names
from berth_api.pool_server import PoolConfig
from berth_server import args, cpus, launch, variables
from berth_server.args import Command
from berth_server.engine import unexecutable
from berth_server.errors import NotWarm
from berth_server.resident import Launched
from berth_server.warm import Warm

_log = logging.getLogger("berth.server")

_PR_SET_CHILD_SUBREAPER: Final = 36  # linux/prctl.h


class Starts:
    """Raises ConfigurationError where no engine of this pool can have an environment."""

    def __init__(self, config: PoolConfig, inherited: dict[str, str]) -> None:
        self._inherited = inherited
        self._children: dict[int, launch.Process] = {}
        self._warm = self._warm_interpreter(config) if config.warm else None

    def _warm_interpreter(self, config: PoolConfig) -> Warm:
        shared = args.shared_environment(config.device, config.env, cpus.available())
        if config.cards:
            shared |= {variables.CARD_ORDER: variables.BY_BUS}
        environment = Command([], shared).applied_to(self._inherited)
        return Warm(config.command, config.device, environment, self._know)

    @property
    def settled(self) -> bool:
        """Whether it is known if engines are forked; until then a start waits."""
        return self._warm is None or self._warm.settled.is_set()

    @contextlib.asynccontextmanager
    async def ready(self, changed: Callable[[], None]) -> AsyncGenerator[None, None]:
        """Collects children, and keeps a warm interpreter, for as long as the block runs."""
        _become_subreaper()
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)
        keeping = asyncio.create_task(self._warm.keep(changed)) if self._warm else None
        try:
            yield
        finally:
            if keeping:
                keeping.cancel()
                await asyncio.gather(keeping, return_exceptions=True)

    async def start(self, id_: str, command: Command, on_line: Callable[[str], None]) -> Launched:
        """Raises EngineFailed."""
        prefix = names.engine_line(id_)
        if self._warm:
            await self._warm.settled.wait()
            try:
                environment = command.applied_to(self._inherited)
                process = await self._warm.fork(command, environment, on_line, prefix)
                return Launched(process, warm=True)
            except NotWarm as error:
                _log.info("engine %s is executed: %s", id_, error)
        try:
            process = launch.start(command, self._inherited, on_line, prefix=prefix)
        except (OSError, ValueError) as error:  # ValueError: of a zero byte in a word
            raise unexecutable(error) from error
        self._know(process)
        return Launched(process, warm=False)

    def _know(self, process: launch.Process) -> None:
        """It may have ended already."""
        self._children[process.pid] = process
        self._reap()

    def _reap(self) -> None:
        launch.reap(self._children)
        self._children = {pid: one for pid, one in self._children.items() if not one.ended}


def _become_subreaper() -> None:
    """Where a kernel or a C library has no such thing, only PID 1 can have engines forked."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
