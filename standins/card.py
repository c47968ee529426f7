"""Accelerators whose memory is a file, and `nvidia-smi` for them: `python -m standins.card`.

    STANDIN_CARDS  the file: JSON, {"total": [bytes by card], "used": [[pid, card, bytes, kept]],
                   "refused": how often somebody asked for more than was free}

A process's memory is free when it has ended, however it ended, as a driver has it; what is `kept`
stays in use all the same, as a driver's fault has it, until somebody takes it out of the file.
"""

import fcntl
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

VARIABLE = "STANDIN_CARDS"
_MIB = 2**20


@dataclass(frozen=True)
class Cards:
    path: Path

    @classmethod
    def of(cls, environment: Any) -> "Cards | None":
        given = environment.get(VARIABLE)
        return cls(Path(given)) if given else None

    def write(self, totals: list[int]) -> None:
        self.path.write_text(json.dumps({"total": totals, "used": [], "refused": 0}))

    @contextmanager
    def _opened(self) -> Iterator[tuple[TextIO, dict[str, Any]]]:
        with self.path.open("r+") as opened:
            fcntl.flock(opened, fcntl.LOCK_EX)
            yield opened, json.load(opened)

    def memory(self) -> list[tuple[int, int]]:
        """Total and free bytes by card."""
        with self._opened() as (_, found):
            return [
                (total, total - _used(found, card)) for card, total in enumerate(found["total"])
            ]

    def take(self, card: int, size: int, kept: bool = False) -> tuple[int, int] | None:
        """Total and free, where there is not enough; None if it was taken."""
        with self._opened() as (opened, found):
            total = found["total"][card]
            free = total - _used(found, card)
            if size > free:
                _rewrite(opened, found | {"refused": found["refused"] + 1})
                return total, free
            # A process id comes again: whoever has ended must not be taken for his successor.
            there = [row for row in found["used"] if row[3] or _lives(row[0])]
            rows = [*there, [os.getpid(), card, size, kept]]
            _rewrite(opened, found | {"used": rows})
        return None

    @property
    def refused(self) -> int:
        """How often somebody asked for more than was free."""
        with self._opened() as (_, found):
            return int(found["refused"])

    def give_back(self) -> None:
        """What was kept."""
        with self._opened() as (opened, found):
            _rewrite(opened, found | {"used": [row for row in found["used"] if _lives(row[0])]})


def _rewrite(opened: TextIO, found: dict[str, Any]) -> None:
    opened.seek(0)
    opened.truncate()
    json.dump(found, opened)


def _used(found: dict[str, Any], card: int) -> int:
    rows = (row for row in found["used"] if row[1] == card)
    return sum(size for pid, _, size, kept in rows if kept or _lives(pid))


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def visible(environment: Any) -> list[int]:
    return [int(card) for card in environment.get("CUDA_VISIBLE_DEVICES", "0").split(",")]


def main() -> None:
    cards = Cards.of(os.environ)
    if cards is None:
        sys.exit(f"{VARIABLE} names no file")
    for index, (total, free) in enumerate(cards.memory()):
        sys.stdout.write(f"{index}, {total // _MIB}, {free // _MIB}\n")


if __name__ == "__main__":
    main()
