"""The engine's Prometheus page, as the few numbers that the server needs. Pure.

Absent is None, not zero: a metric that a version renamed must not look like an idle engine.
"""

import math
import re
from dataclasses import dataclass, field
from typing import Final

from berth_api.server import Measured

_SAMPLE: Final = re.compile(r"^(?P<name>[\w:]+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
# Any of these moves with every step of the engine, prefill included.
_PROGRESS: Final = frozenset(
    {
        "vllm:iteration_tokens_total_count",
        "vllm:generation_tokens_total",
        "vllm:prompt_tokens_total",
    }
)
_CACHE: Final = "vllm:cache_config_info"
_RUNNING: Final = "vllm:num_requests_running"
_WAITING: Final = "vllm:num_requests_waiting"


@dataclass(frozen=True)
class Gauges:
    """One scrape. `progress` only ever grows while the engine steps."""

    running: float | None = None
    waiting: float | None = None
    progress: float | None = None
    measured: Measured = field(default_factory=Measured)


def read(page: str) -> Gauges:
    """What `page`, in the text exposition format, says; values are summed over engines."""
    samples = [match for match in map(_SAMPLE.match, page.splitlines()) if match]
    return Gauges(
        running=_total(samples, frozenset({_RUNNING})),
        waiting=_total(samples, frozenset({_WAITING})),
        progress=_total(samples, _PROGRESS),
        measured=_cache(samples),
    )


def _total(samples: list[re.Match[str]], names: frozenset[str]) -> float | None:
    values = [_number(sample["value"]) for sample in samples if sample["name"] in names]
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _cache(samples: list[re.Match[str]]) -> Measured:
    labels = next((sample["labels"] for sample in samples if sample["name"] == _CACHE), None)
    fields = dict(_LABEL.findall(labels or ""))
    return Measured(
        kv_cache_bytes=_whole(fields.get("kv_cache_memory_bytes")),
        kv_cache_tokens=_whole(fields.get("kv_cache_size_tokens")),
    )


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _whole(text: str | None) -> int | None:
    """A label is text; vLLM writes "None" for what it did not compute."""
    number = _number(text) if text else None
    return None if number is None else int(number)
