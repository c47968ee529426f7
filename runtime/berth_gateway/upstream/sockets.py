"""TCP keep-alive: a node that died sends no FIN, and an answer may take an hour."""

import socket
from typing import Final

# Unanswered probes end a connection after 15 + 3 * 5 seconds.
KEEPALIVE_IDLE_SECONDS: Final = 15
KEEPALIVE_PROBE_SECONDS: Final = 5
KEEPALIVE_PROBES: Final = 3


def keep_alive(one: socket.socket) -> None:
    """Let TCP notice a peer whose host is gone."""
    one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_SECONDS)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_PROBE_SECONDS)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)
