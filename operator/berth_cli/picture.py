"""A GPU's memory as a bar of letters: what a plan puts where. Pure.

WWWWWWWWWWWWWWWWWWAAGDKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKK.....
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from berth_api.quantity import format_bytes
from berth_api.status import Plan

# Narrower, and parts of one cell each push the large ones out.
LEAST_WIDTH: Final = 20
_INDENT: Final = "  "
_RESET: Final = "\x1b[0m"
_NAME_COLUMNS: Final = 12
_SIZE_COLUMNS: Final = 11


@dataclass(frozen=True)
class Part:
    letter: str
    name: str
    count: int  # bytes
    note: str = ""
    colour: int = 0  # of the terminal's sixteen backgrounds; 0 is none


def parts(plan: Plan, card_bytes: int) -> tuple[Part, ...]:
    """Of one GPU, or of one rank's share of a pod; without those that take nothing."""
    known = (
        Part("W", "weights", plan.weights_bytes, colour=44),
        *_adapters(plan),
        Part("A", "activations", plan.activation_bytes, "the engine's largest step", colour=43),
        Part("G", "graphs", plan.graph_bytes, colour=45),
        Part("D", "overhead", plan.overhead_bytes, _overhead(plan), colour=41),
        Part("K", "KV cache", plan.kv_cache_bytes, _cache(plan), colour=42),
    )
    free = card_bytes - sum(part.count for part in known)
    shown = [part for part in known if part.count]
    return (*shown, Part(".", "free", free, _free(plan))) if free > 0 else tuple(shown)


def _adapters(plan: Plan) -> tuple[Part, ...]:
    slots = plan.adapter_slots
    if slots is None:
        return ()
    note = f"{slots.count} slots of rank {slots.max_rank}"
    return (Part("L", "adapters", slots.slot_bytes, note, colour=46),)


def _overhead(plan: Plan) -> str:
    if plan.device == "cpu":
        return "the engine's processes"
    return "driver, communication, tables, margins"


def _cache(plan: Plan) -> str:
    return f"{plan.kv_cache_tokens} tokens"


def _free(plan: Plan) -> str:
    share = plan.gpu_memory_fraction
    return f"the engine is given {share} of the card" if share else ""


def bar(shown: Sequence[Part], width: int, *, colours: bool = False) -> str:
    """`width` cells in proportion to the parts' bytes, and one at least for each part."""
    cells = _cells([part.count for part in shown], width)
    return "".join(
        _cell(part, count, colours=colours) for part, count in zip(shown, cells, strict=True)
    )


def lines(
    shown: Sequence[Part], card_bytes: int, width: int, *, colours: bool = False
) -> list[str]:
    """The bar, where the card ends if that is within it, and a line for each part."""
    cells = max(width - 2 * len(_INDENT), LEAST_WIDTH)
    drawn = [bar(shown, cells, colours=colours), *_end(shown, card_bytes, cells)]
    return [
        _INDENT + line for line in (*drawn, *(_legend(part, colours=colours) for part in shown))
    ]


def _end(shown: Sequence[Part], card_bytes: int, cells: int) -> list[str]:
    total = sum(part.count for part in shown)
    return [] if total <= card_bytes else ["=" * (cells * card_bytes // total) + "| the card ends"]


def _legend(part: Part, *, colours: bool) -> str:
    letter = _cell(part, 1, colours=colours)
    size = format_bytes(part.count)
    line = f"{letter} {part.name:<{_NAME_COLUMNS}}{size:>{_SIZE_COLUMNS}}  {part.note}"
    return line.rstrip()


def _cell(part: Part, count: int, *, colours: bool) -> str:
    text = part.letter * count
    return f"\x1b[{part.colour}m{text}{_RESET}" if colours and part.colour else text


def _cells(counts: Sequence[int], width: int) -> list[int]:
    """Whole cells that add up to `width`, by largest remainder.

    The large ones give to the small, so that each has one.
    """
    total = sum(counts)
    shares = [divmod(count * width, total) for count in counts]
    cells = [max(1, whole) for whole, _ in shares]
    by_remainder = sorted(range(len(counts)), key=lambda index: -shares[index][1])
    for index in by_remainder[: max(0, width - sum(cells))]:
        cells[index] += 1
    while sum(cells) > width:
        cells[cells.index(max(cells))] -= 1
    return cells
