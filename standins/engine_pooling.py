"""Answers of models that embed or score: functions of the texts alone, in vLLM's documents. Pure."""

from collections.abc import Sequence
from typing import Any

from standins import engine_text

EMBEDDING_SIZE = 8
_BYTE = 255


def texts(value: Any) -> list[str]:
    """One text or several."""
    return [str(one) for one in (value if isinstance(value, list) else [value])]


def embedded(inputs: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {"object": "embedding", "index": index, "embedding": _embedding(text)}
        for index, text in enumerate(inputs)
    ]


def scored(query: str, documents: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {"index": index, "object": "score", "score": _similarity(query, text)}
        for index, text in enumerate(documents)
    ]


def ranked(query: str, documents: Sequence[str], top: int | None) -> list[dict[str, Any]]:
    """The best first, at most `top` of them."""
    rows = [
        {"index": index, "document": {"text": text, "multi_modal": None},
         "relevance_score": _similarity(query, text)}
        for index, text in enumerate(documents)
    ]  # fmt: skip
    return sorted(rows, key=lambda row: -row["relevance_score"])[: top or len(rows)]


def _embedding(text: str) -> list[float]:
    return [byte / _BYTE for byte in engine_text.key(engine_text.tokens(text))[:EMBEDDING_SIZE]]


def _similarity(query: str, text: str) -> float:
    return engine_text.key([query, text])[0] / _BYTE
