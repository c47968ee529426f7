"""The environment variables by which the wrapper configures its code inside the engine.

`args` and `resident` write them and `admission` reads its own, in another process.
"""

from typing import Final

ENGINE_KEY_FILE: Final = "BERTH_ENGINE_KEY_FILE"  # path of the file that holds the engine key
MAX_IN_FLIGHT: Final = "BERTH_MAX_IN_FLIGHT"  # requests, running and waiting
ADAPTERS: Final = "BERTH_ADAPTERS"  # JSON: an adapter's name -> the folder of its files
FORK: Final = "BERTH_FORK"  # 1: on CPU, fork the engine's processes where that is safe

# CUDA's own: which of the pod's cards an engine sees, counted as the driver's tools count them.
VISIBLE_CARDS: Final = "CUDA_VISIBLE_DEVICES"
CARD_ORDER: Final = "CUDA_DEVICE_ORDER"
BY_BUS: Final = "PCI_BUS_ID"

# Paths that the middleware answers itself, to loopback and with the engine key.
PATH_LOAD: Final = "/berth/load"  # GET: {"inFlight": 3, "draining": false}
PATH_DRAIN: Final = "/berth/drain"  # POST: refuse new requests; DELETE: admit again
