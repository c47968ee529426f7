"""A `vllm.general_plugins` entry point: what must happen in each of the engine's processes.

What only makes it faster must never keep the engine from starting.
"""

import importlib
import json
import logging
import os
from typing import Final

from berth_server import fork, variables

_log = logging.getLogger("vllm.berth")

# What a torch or a vLLM that lacks something raises; nothing else may be hidden here.
_ABSENT: Final = (AttributeError, ImportError, RuntimeError, OSError)


def register() -> None:
    """Called by vLLM once in each process, before it makes others."""
    _initialise_amx()
    if variables.ADAPTERS in os.environ:
        _offer_adapters(os.environ[variables.ADAPTERS])
    if os.environ.get(variables.FORK) == "1":
        # Forked children have all of this already, and spawned ones start no process by fork.
        os.environ[variables.FORK] = "0"
        _fork()


def _initialise_amx() -> None:
    """Asks the kernel for AMX tiles, where this processor has them.

    vLLM picks the `amx` attention kernel for bfloat16 and nothing asks the kernel for permission
    to use it: the first request then ends the worker with SIGILL (seen with vLLM 0.32).
    """
    try:
        cpu = importlib.import_module("torch").cpu
        if cpu._is_amx_tile_supported():  # noqa: SLF001 -- torch has no public spelling
            cpu._init_amx()  # noqa: SLF001
    except _ABSENT as error:
        _log.warning("AMX was not initialised: %s", error)


def _offer_adapters(listed: str) -> None:
    """Asked by the API server for each name that it does not know yet.

    Without them the engine would serve its model and no adapter: here an error may end it.
    """
    resolver = importlib.import_module("berth_server.adapter_resolver")
    resolver.register(json.loads(listed))


def _fork() -> None:
    try:
        fork.install()
    except _ABSENT as error:
        _log.warning("processes are spawned, and the start is slower: %s", error)
