"""Text in columns, as kubectl has it: strangers' strings are escaped, and no line is folded."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Final

from berth_cli.report import printable

DASH: Final = "-"  # for what is not known
_GAP: Final = "  "


def columns(rows: Sequence[Sequence[str]], indent: str = "") -> str:
    """Each column as wide as its longest cell; the last one is as long as it is."""
    cells = [[_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip_longest(*cells, fillvalue="")]
    return "\n".join(indent + _row(row, widths) for row in cells)


def _row(row: Sequence[str], widths: Sequence[int]) -> str:
    return _GAP.join(_padded(row, widths)).rstrip()


def _padded(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    yield from (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False))


def _line(cell: str) -> str:
    return " ".join(printable(cell).split("\n"))
