"""`python3 -m berth_server [TERMINATION_LOG]`: PID 1 of a runtime pod.

Exit codes: 0 drained, 2 the pod cannot start like this, else the engine's own.
"""

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from berth_api import names
from berth_api.pool_server import PoolConfig
from berth_api.server import ServerConfig
from berth_api.shape import Failure
from berth_server import cards, order_page, pool, reasons, status, termination
from berth_server.errors import ConfigurationError
from berth_server.pod import Outcome, Pod, only_engine

_log = logging.getLogger("berth.server")

Config = TypeVar("Config", PoolConfig, ServerConfig)


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="berth-server %(levelname)s %(message)s")
    log = Path(sys.argv[1]) if len(sys.argv) > 1 else termination.DEFAULT_PATH
    try:
        outcome = asyncio.run(_serve(dict(os.environ)))
    except ConfigurationError as error:
        fix = "this is the operator's to correct: see its log"
        failure = Failure(reason=reasons.CRASH_LOOP, message=str(error), fix=fix)
        outcome = Outcome(exit_code=2, failure=failure)
    if outcome.failure:
        _log.error("%s: %s", outcome.failure.reason, outcome.failure.message)
        termination.write(log, outcome.failure)
    return outcome.exit_code


async def _serve(inherited: dict[str, str]) -> Outcome:
    if names.ENV_POOL_CONFIG in inherited:
        pool_config = read_config(PoolConfig, names.ENV_POOL_CONFIG, inherited)
        return await serve_pool(pool_config, inherited)
    config = read_config(ServerConfig, names.ENV_SERVER_CONFIG, inherited)
    return await serve(config, inherited)


def read_config(kind: type[Config], name: str, environment: Mapping[str, str]) -> Config:
    """From the variable `name`. Raises ConfigurationError."""
    try:
        return kind.model_validate_json(environment.get(name, ""))
    except ValidationError as error:
        raise ConfigurationError(f"{name}: {error}") from error


def read_key(path: Path) -> str:
    """The engine key. Raises ConfigurationError."""
    try:
        key = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the engine key: {error}") from error
    if not key:
        raise ConfigurationError(f"the engine key: {path} is empty")
    return key


async def serve(config: ServerConfig, inherited: dict[str, str]) -> Outcome:
    """The status page and the engine, until the engine ends or SIGTERM was obeyed."""
    state = status.State(
        started_seconds=time.monotonic(),
        engine_names=(only_engine(config).name,),
        expected_start_seconds=config.expected_start_seconds,
    )
    stop = _asked_to_end()
    pod = Pod(config, read_key(Path(config.engine_key_file)), state, time.monotonic)
    async with status.served(status.pages(state, time.monotonic), config.status_port):
        return await pod.run(inherited, stop)


async def serve_pool(config: PoolConfig, inherited: dict[str, str]) -> Outcome:
    """The pages and the engines that are ordered, until SIGTERM was obeyed."""
    stop = _asked_to_end()
    key = read_key(Path(config.pool_key_file))
    memory = await cards.before_any_engine(config)
    ours = pool.Pool(config, memory, inherited, time.monotonic)
    pages = order_page.pages(ours, key, time.monotonic)
    async with status.served(pages, config.status_port):
        return await ours.run(stop)


def _asked_to_end() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


if __name__ == "__main__":
    sys.exit(main())
