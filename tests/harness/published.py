"""Published models as `tests/models/` has them: config.json, and the tensors of their files.

A tensor's name holds ranges: `model.layers.{0-3,5}.mlp.experts.{0-63}.down_proj.weight`. What a
file's "made" says is where its list is from; no weights are here.
"""

import functools
import itertools
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

from berth_api.shape import ShapeReport
from berth_operator.core.model import architecture
from berth_operator.core.model.shape import ModelShape
from berth_server import parts, trim, weights

HERE = Path(__file__).parents[1] / "models"
NAMES = sorted(path.stem for path in HERE.glob("*.json"))

_RANGE = re.compile(r"\{([\d,-]+)\}")
_BYTES = {"F32": 4, "BF16": 2, "F16": 2, "I32": 4, "U8": 1, "F8_E4M3": 1}


@dataclass(frozen=True)
class Published:
    config: dict
    tensors: list


@functools.cache
def load(name: str) -> Published:
    found = json.loads((HERE / f"{name}.json").read_text())
    return Published(found["config"], found["tensors"])


@functools.cache
def report(name: str) -> ShapeReport:
    """What the shape Job would hand back."""
    model = load(name)
    found = _described(model)
    return ShapeReport(
        commit="0" * 40,
        config=trim.trim(model.config),
        tensorBytes=dict(found.bytes_by_dtype),
        parts={part: dict(sizes) for part, sizes in found.bytes_by_part.items()},
        tensorCount=found.count,
        fileBytes=sum(found.bytes_by_dtype.values()),
    )


def weighing(config: dict, size_bytes: int = 2**30) -> ShapeReport:
    """A report of `config` as it is, with some bytes, for what no bytes decide."""
    return ShapeReport(config=config, tensorBytes={"BF16": size_bytes})


@functools.cache
def shape(name: str) -> ModelShape:
    found = architecture.read(report(name))
    assert isinstance(found, ModelShape), found
    return found


def _described(model: Published) -> weights.Tensors:
    known = parts.facts(model.config)
    total = weights.Tensors()
    for pattern, dtype, dimensions in model.tensors:
        # Each layer by its number, for draft layers are told by theirs; other numbers as one.
        for name, times in _layers(pattern):
            size = math.prod(dimensions) * _BYTES[dtype]
            one = weights.described([parts.Tensor(name, dtype, tuple(dimensions), size)], known)
            total += _times(one, times)
    return total


def _layers(pattern: str):
    first, *others = [_indices(found[1]) for found in _RANGE.finditer(pattern)] or [[None]]
    times = math.prod(map(len, others))
    for index in first:
        name = _RANGE.sub(str(index), pattern, count=1)
        yield _RANGE.sub("0", name), times


def _indices(text: str) -> list[int]:
    bounds = [[int(end) for end in piece.split("-")] for piece in text.split(",")]
    return list(itertools.chain.from_iterable(range(one[0], one[-1] + 1) for one in bounds))


def _times(one: weights.Tensors, times: int) -> weights.Tensors:
    return weights.Tensors(
        {dtype: size * times for dtype, size in one.bytes_by_dtype.items()},
        one.count * times,
        0,
        {
            part: {dtype: size * times for dtype, size in sizes.items()}
            for part, sizes in one.bytes_by_part.items()
        },
    )
