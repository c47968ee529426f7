"""`python -m berth_gateway`: exit 0 after SIGTERM, 2 when it cannot start, 1 when a part dies."""

import logging
import os
import sys
from typing import Final

import uvloop

from berth_gateway import serve, settings
from berth_gateway.errors import ConfigurationError

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2

_log = logging.getLogger("berth_gateway")


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for noisy in ("uvicorn.error", "aiohttp.client"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        uvloop.run(serve.run(settings.load(sys.argv[1:], os.environ)))
    except ConfigurationError as error:
        print(f"berth_gateway: {error}", file=sys.stderr)
        return EXIT_USAGE
    except Exception:  # noqa: BLE001 -- the last frame: whatever it is ends the process
        _log.exception("a part of the gateway died, so it ends")
        return EXIT_FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
