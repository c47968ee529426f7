"""The stand-in hub on a port of its own, in a thread, for tests with the real client."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import uvicorn

from standins import hub


@contextlib.contextmanager
def served(repositories: dict[str, hub.Repository]) -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(hub.application(repositories), log_level="critical", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        server.force_exit = True
        thread.join(5)
