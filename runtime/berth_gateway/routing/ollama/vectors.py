"""An engine's embeddings, as Ollama's. Fed with bytes in any cut.

Each vector goes on as it is written, as soon as it is whole, and nothing of it is built: a body of
many short texts has an answer of any size.
"""

import re
from typing import Final

import msgspec

from berth_gateway.routing import usage
from berth_gateway.routing.ollama.answer import LOST, Failed, Loaded, Moment, nanoseconds
from berth_gateway.routing.ollama.question import Endpoint

# Inside a text its quotes would be escaped.
_VECTOR: Final = re.compile(rb'"embedding"\s*:\s*(\[[^\[\]{}"]*\])')
# A vector of 16,384 numbers, twice the longest in use, of 24 digits each; and what is around it.
MAX_VECTOR_BYTES: Final = 512 * 2**10
_FAILED: Final = 500


class Vectors:
    """The answer to texts to be embedded: `embeddings`, or the older form's `embedding`."""

    def __init__(self, endpoint: Endpoint, model: str, loaded: Loaded, inputs: int) -> None:
        self.failed: Failed | None = None
        self.done = False
        self._several = endpoint is Endpoint.EMBED
        self._model = model
        self._loaded = loaded
        self._inputs = inputs  # as many vectors are to come
        self._count = 0
        self._left = b""

    def take(self, data: bytes, now: Moment, *, last: bool) -> bytes:
        """What these bytes complete; the `last` end the engine's body."""
        if self.failed:
            return b""
        self._left += data
        said, at = [], 0
        for found in _VECTOR.finditer(self._left):
            said.append(self._say(found[1]))
            at = found.end()
        self._left = self._left[at:]
        if len(self._left) > MAX_VECTOR_BYTES:
            self.failed = Failed(_FAILED, "the engine sent embeddings that cannot be read")
        return b"".join(said) + (self._end(now) if last else b"")

    def _end(self, now: Moment) -> bytes:
        if self.failed or self._count != self._inputs or not self._left.rstrip().endswith(b"}"):
            self.failed = self.failed or Failed(_FAILED, LOST)
            return b""
        self.done = True
        return self._metrics(now) if self._several else b"}\n"

    def _say(self, vector: bytes) -> bytes:
        self._count += 1
        if self._count > 1:
            return b"," + vector
        if self._several:
            return b'{"model":%b,"embeddings":[' % msgspec.json.encode(self._model) + vector
        return b'{"embedding":' + vector

    def _metrics(self, now: Moment) -> bytes:
        counted = usage.counted(self._left)
        return b'],"total_duration":%d,"load_duration":%d,"prompt_eval_count":%d}\n' % (
            nanoseconds(now.seconds - self._loaded.started),
            nanoseconds(self._loaded.held),
            counted.prompt_tokens if counted else 0,
        )
