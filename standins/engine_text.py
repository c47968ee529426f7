"""What the stand-in takes for tokens, and what it says: functions of the prompt alone. Pure.

A token is four bytes of a text, and each message starts a new one, so a conversation's next turn
begins with the very tokens of the turn before and the answer to it.
"""

import hashlib
from typing import Any

TOKEN_BYTES = 4
_LETTERS = bytes(ord("a") + byte % 26 for byte in range(256))
_LETTERS_PER_TOKEN = TOKEN_BYTES - 1  # behind a space
# A chat's answer ends by itself after so many tokens, if the request sets no end.
_SHORTEST_ANSWER, _LONGEST_ANSWER = 8, 64
# Keeps the leading zero bytes of a token's number.
_MARK = b"\x01"


def tokens(text: str) -> list[str]:
    raw = text.encode()
    pieces = (raw[at : at + TOKEN_BYTES] for at in range(0, len(raw), TOKEN_BYTES))
    return [piece.decode("latin-1") for piece in pieces]


def number(token: str) -> int:
    return int.from_bytes(_MARK + token.encode("latin-1"), "big")


def text(numbers: list[int]) -> str:
    """The text of `number`s; one that is none stands for itself."""
    pieces = (one.to_bytes((one.bit_length() + 7) // 8, "big")[1:] for one in numbers)
    return b"".join(pieces).decode(errors="replace")


def chat(messages: list[dict[str, Any]]) -> list[str]:
    """The prompt of a conversation, up to where the answer begins."""
    found: list[str] = []
    for message in messages:
        found.append(f"<{message.get('role', 'user')}>")
        found += tokens(content(message.get("content")))
    return [*found, "<assistant>"]


def content(value: Any) -> str:
    """A message's text; of its parts, where it has several."""
    if isinstance(value, list):
        return "".join(content(part) for part in value)
    if isinstance(value, dict):
        return str(value.get("text", ""))
    return "" if value is None else str(value)


def prompt(value: Any) -> list[str]:
    """Of a completion: a text, a list of texts, which become one, or a list of tokens."""
    if isinstance(value, list) and value and all(isinstance(one, int) for one in value):
        return [f"#{one}" for one in value]
    if isinstance(value, list) and value and isinstance(value[0], list):
        return prompt(value[0])
    return tokens("".join(map(str, value)) if isinstance(value, list) else str(value))


def key(prompt_tokens: list[str], seed: Any = None) -> bytes:
    """What an answer depends on."""
    return hashlib.blake2b("\0".join([str(seed), *prompt_tokens]).encode()).digest()


def answer(key: bytes, count: int) -> list[str]:
    """`count` tokens of letters and spaces, which need no escape in JSON."""
    stream = hashlib.shake_256(key).digest(count * _LETTERS_PER_TOKEN).translate(_LETTERS).decode()
    places = range(0, len(stream), _LETTERS_PER_TOKEN)
    return [" " + stream[at : at + _LETTERS_PER_TOKEN] for at in places]


def natural_length(key: bytes) -> int:
    """Tokens after which the answer would end by itself."""
    return _SHORTEST_ANSWER + key[0] % (_LONGEST_ANSWER - _SHORTEST_ANSWER + 1)
