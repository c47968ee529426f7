"""What the programs that read or fetch a model once have in common: a log, last words, an end."""

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from berth_server import termination
from berth_server.errors import ConfigurationError

_log = logging.getLogger("berth.once")

_MISCONFIGURED: Final = 2


def run(name: str, work: Callable[[Path], int]) -> int:
    """The exit code. `work` is given the path of the termination log, the first argument's."""
    logging.basicConfig(level=logging.INFO, format=f"{name} %(levelname)s %(message)s")
    try:
        return work(Path(sys.argv[1]) if len(sys.argv) > 1 else termination.DEFAULT_PATH)
    except ConfigurationError as error:
        _log.error("%s", error)
        return _MISCONFIGURED


def tell(log: Path, found: BaseModel) -> int:
    """The exit code of one whose answer, good or bad, is its last words."""
    _log.info("%s", found.model_dump_json())
    termination.write(log, found)
    return 0
