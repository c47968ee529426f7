"""Can the engine do its work? Ready means that a token was generated, not that a port is open.

A model that generates is asked for one token; one that does not is asked for one embedding or
one classification. `/health` is 200 on engines that die at the first request.
"""

from typing import Any, Final

from berth_api.shape import Failure
from berth_server import reasons
from berth_server.client import Client, Reply
from berth_server.errors import EngineFailed, EngineUnreachable

_OK: Final = 200
_SERVER_ERROR: Final = 500
# The first step may compile kernels; the start timeout is the bound that users set.
_FIRST_STEP_SECONDS: Final = 600.0
_LIST_SECONDS: Final = 5.0
_TEXT: Final = "Hello"

# Routes by task, in order. vLLM registers a route only for the tasks that a model has: others
# answer 404 for the path, or 400 for a model that is no chat model.
_QUESTIONS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("/v1/completions", {"prompt": _TEXT, "max_tokens": 1}),
    ("/v1/embeddings", {"input": _TEXT}),
    ("/classify", {"input": _TEXT}),
    ("/pooling", {"input": _TEXT}),
    ("/score", {"text_1": _TEXT, "text_2": _TEXT}),
)


async def listening(client: Client) -> bool:
    """Whether the engine's API answers. Until it is ready its port refuses connections."""
    try:
        reply = await client.get("/v1/models", _LIST_SECONDS)
    except EngineUnreachable:
        return False
    return reply.status == _OK


async def first_token(client: Client, model: str) -> None:
    """Returns when the engine did one piece of work.

    Raises EngineFailed if it answered with an error, EngineUnreachable if it went away.
    """
    said: list[str] = []
    for path, question in _QUESTIONS:
        reply = await client.post(path, {"model": model, **question}, _FIRST_STEP_SECONDS)
        if reply.status == _OK:
            return
        said.append(f"{path} {reply.status} {_text(reply)}")
        if reply.status >= _SERVER_ERROR:
            break
    raise EngineFailed(
        Failure(
            reason=reasons.CRASH_LOOP,
            message=f"the engine is up and generates nothing: {said[-1]}",
            fix="read the pod's log",
        )
    )


def _text(reply: Reply) -> str:
    return reply.body[:200].decode(errors="replace")
