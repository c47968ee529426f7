"""Step costs from measurements: least squares over sums of known work. Pure.

Each measurement is a time that is known to be made of `counts` of each cost. Rows are weighed so
that relative errors count alike, and no cost is negative: one that would be is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """`seconds` were measured for `counts` of each cost."""

    counts: tuple[float, ...]
    seconds: float


class Singular(ValueError):
    """The rows do not tell all costs apart."""


def costs(rows: Sequence[Row]) -> tuple[float, ...]:
    """Seconds per unit of each count. Singular."""
    width = len(rows[0].counts)
    used = list(range(width))
    while used:
        found = _least_squares(rows, used)
        worst = min(range(len(used)), key=lambda place: found[place])
        if found[worst] >= 0:
            values = dict(zip(used, found, strict=True))
            return tuple(values.get(place, 0.0) for place in range(width))
        del used[worst]
    return (0.0,) * width


def _least_squares(rows: Sequence[Row], used: Sequence[int]) -> list[float]:
    """Normal equations of the relative errors. Columns are scaled: they differ by millions."""
    scales = [max(abs(row.counts[place]) for row in rows) or 1.0 for place in used]
    matrix = [
        [row.counts[place] / scale / row.seconds for place, scale in zip(used, scales, strict=True)]
        for row in rows
    ]
    normal = [
        [sum(line[left] * line[right] for line in matrix) for right in range(len(used))]
        for left in range(len(used))
    ]
    sums = [sum(line[left] for line in matrix) for left in range(len(used))]
    solved = _solve(normal, sums)
    return [value / scale for value, scale in zip(solved, scales, strict=True)]


_NOTHING = 1e-14


def _solve(matrix: list[list[float]], right: list[float]) -> list[float]:
    """Gauss with pivots."""
    size = len(right)
    rows = [[*line, value] for line, value in zip(matrix, right, strict=True)]
    for at in range(size):
        pivot = max(range(at, size), key=lambda row: abs(rows[row][at]))
        if abs(rows[pivot][at]) < _NOTHING:
            raise Singular(f"column {at} depends on the others")
        rows[at], rows[pivot] = rows[pivot], rows[at]
        for below in range(at + 1, size):
            factor = rows[below][at] / rows[at][at]
            rows[below] = [b - factor * a for a, b in zip(rows[at], rows[below], strict=True)]
    found = [0.0] * size
    for at in reversed(range(size)):
        known = sum(rows[at][column] * found[column] for column in range(at + 1, size))
        found[at] = (rows[at][size] - known) / rows[at][at]
    return found
