"""How many tokens an answer took, as the engine says at its end."""

import re
from typing import Final, NamedTuple

_USAGE: Final = b'"usage"'  # inside a text its quotes would be escaped
_COUNTS_BYTES: Final = 512  # the counts come first in the object; details follow
# The names of OpenAI's older APIs, and of its Responses API and Anthropic's.
_PROMPT: Final = re.compile(rb'"(?:prompt|input)_tokens"\s*:\s*(\d{1,12})\b')
_COMPLETION: Final = re.compile(rb'"(?:completion|output)_tokens"\s*:\s*(\d{1,12})\b')


class Usage(NamedTuple):
    prompt_tokens: int
    completion_tokens: int


def counted(tail: bytes) -> Usage | None:
    """The counts of the last `usage` in an answer's last bytes; None where there is none."""
    at = tail.rfind(_USAGE)
    if at < 0:
        return None
    text = tail[at : at + _COUNTS_BYTES]
    prompt = _PROMPT.search(text)
    if prompt is None:
        return None
    completion = _COMPLETION.search(text)
    return Usage(int(prompt[1]), int(completion[1]) if completion else 0)
