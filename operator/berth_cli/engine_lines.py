"""One engine's lines out of the log of a pool's pod, where each begins with its engine's id.

Pure. What the pod says of itself, and what its other engines say, is left out.
"""

from berth_api import names


class EngineLines:
    """Bytes in any pieces, to the engine's whole lines without what they begin with."""

    def __init__(self, engine: str) -> None:
        self._begins = names.engine_line(engine).encode()
        self._rest = b""

    def feed(self, piece: bytes) -> bytes:
        *whole, self._rest = (self._rest + piece).split(b"\n")
        return b"".join(self._of_engine(line + b"\n") for line in whole)

    def end(self) -> bytes:
        """A line that the log ends in the middle of."""
        return self._of_engine(self._rest)

    def _of_engine(self, line: bytes) -> bytes:
        return line[len(self._begins) :] if line.startswith(self._begins) else b""
