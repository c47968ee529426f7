"""`python -m berth_gateway`: exit 0 after SIGTERM, 2 when it cannot start, 1 when a part dies."""

import gc
import logging
import os
import sys
from typing import Final

import uvloop

from berth_gateway import serve, settings
from berth_gateway.errors import ConfigurationError

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
GC_NEW_OBJECTS: Final = 20_000  # that outlive their request: a thousand more streams, for example

_log = logging.getLogger("berth_gateway")


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for noisy in ("uvicorn.error", "aiohttp.client"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        _spare_the_collector()
        uvloop.run(serve.run(settings.load(sys.argv[1:], os.environ)))
    except ConfigurationError as error:
        print(f"berth_gateway: {error}", file=sys.stderr)
        return EXIT_USAGE
    except Exception:  # noqa: BLE001 -- the last frame: whatever it is ends the process
        _log.exception("a part of the gateway died, so it ends")
        return EXIT_FAILED
    return 0


def _spare_the_collector() -> None:
    """What has been imported stays for good, and requests leave no cycles behind.

    So looking for some after every 700 new objects would cost each request a few microseconds.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_NEW_OBJECTS)


if __name__ == "__main__":
    sys.exit(main())
