"""A pod's port as a socket of this machine, through the API server: `kubectl port-forward`.

The API server's other way in, its proxy, takes the Authorization header for its own and hands none
on, so that no API key comes through. The socket lies in a folder that only the user can enter.

A frame's first byte is its channel: 0 the bytes, 1 what went wrong. Each begins with the port.
https://github.com/kubernetes/kubernetes/blob/master/pkg/kubelet/cri/streaming/portforward/websocket.go
"""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from aiohttp import ClientWebSocketResponse, WSMsgType

from berth_operator.errors import BerthError

_DATA: Final = b"\x00"
_ERROR: Final = 1
_PORT_BYTES: Final = 2
_PIECE_BYTES: Final = 64 * 1024
# For a farewell that a peer owes; whoever does not send it is left.
SETTLE_SECONDS: Final = 1.0

Connect = Callable[[], Awaitable[ClientWebSocketResponse]]


class Forwarded:
    """`path` is the socket; `fault` is why its last connection was cut, if it was."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fault = ""
        self.open: set[asyncio.Task[None]] = set()

    async def settled(self) -> None:
        """Connections that were closed here are closed at the pod, too, or given up."""
        if self.open:
            await asyncio.wait(self.open, timeout=SETTLE_SECONDS)


@asynccontextmanager
async def forwarded(connect: Connect) -> AsyncIterator[Forwarded]:
    """Each connection to the socket is one that `connect` makes."""
    with tempfile.TemporaryDirectory(prefix="berth-") as folder:
        found = Forwarded(Path(folder, "socket"))

        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await _carry(reader, writer, await connect(), found)
            except BerthError as error:
                found.fault = str(error)
            finally:
                writer.close()

        def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(take(reader, writer))
            found.open.add(task)
            task.add_done_callback(found.open.discard)

        server = await asyncio.start_unix_server(begin, found.path)
        try:
            yield found
        finally:
            server.close()
            await _end(found.open)


async def _end(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _carry(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    frames: ClientWebSocketResponse,
    found: Forwarded,
) -> None:
    """Until either side ends it."""
    async with frames:
        ways = [
            asyncio.create_task(_out(reader, frames)),
            asyncio.create_task(_in(frames, writer, found)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _end(set(ways))


async def _out(reader: asyncio.StreamReader, frames: ClientWebSocketResponse) -> None:
    while piece := await reader.read(_PIECE_BYTES):
        await frames.send_bytes(_DATA + piece)


async def _in(
    frames: ClientWebSocketResponse, writer: asyncio.StreamWriter, found: Forwarded
) -> None:
    begun: set[int] = set()
    async for frame in frames:
        if frame.type is not WSMsgType.BINARY or not frame.data:
            continue
        channel, piece = frame.data[0], frame.data[1:]
        if channel not in begun:
            begun.add(channel)
            piece = piece[_PORT_BYTES:]
        if channel == _ERROR and piece:
            found.fault = piece.decode(errors="replace")
            return
        with contextlib.suppress(ConnectionError):
            writer.write(piece)
            await writer.drain()
