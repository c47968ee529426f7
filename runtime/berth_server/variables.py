"""The environment variables by which the wrapper configures its code inside the engine.

`args` writes them and `admission` reads them, in another process.
"""

from typing import Final

ENGINE_KEY_FILE: Final = "BERTH_ENGINE_KEY_FILE"  # path of the file that holds the engine key
MAX_IN_FLIGHT: Final = "BERTH_MAX_IN_FLIGHT"  # requests, running and waiting
FORK: Final = "BERTH_FORK"  # 1: on CPU, fork the engine's processes where that is safe

# Paths that the middleware answers itself, to loopback and with the engine key.
PATH_LOAD: Final = "/berth/load"  # GET: {"inFlight": 3, "draining": false}
PATH_DRAIN: Final = "/berth/drain"  # POST: refuse new requests from now on
