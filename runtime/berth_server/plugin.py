"""A `vllm.general_plugins` entry point: what must happen in each of the engine's processes.

It must never keep the engine from starting.
"""

import importlib
import logging

_log = logging.getLogger("vllm.berth")


def register() -> None:
    """Ask the kernel for AMX tiles, where this processor has them.

    vLLM picks the `amx` attention kernel for bfloat16 and nothing asks the kernel for permission
    to use it: the first request then ends the worker with SIGILL (seen with vLLM 0.32).
    """
    try:
        cpu = importlib.import_module("torch").cpu
        if cpu._is_amx_tile_supported():  # noqa: SLF001 -- torch has no public spelling
            cpu._init_amx()  # noqa: SLF001
    except (AttributeError, ImportError, RuntimeError) as error:
        _log.warning("AMX was not initialised: %s", error)
