"""The tables: per workload and summed, and Berth's points beside each peer's cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Of a peer's late requests, at no more than its replica-seconds.
BARS = {"KEDA+HPA": 0.25, "KubeAI": 0.1, "Knative": 0.6}
TURNS_BAR = 2.0

Means = Mapping[str, Mapping[str, float]]  # by workload, by quantity


@dataclass(frozen=True)
class Line:
    name: str
    kind: str
    means: Means

    def total(self, quantity: str) -> float:
        return sum(one[quantity] for one in self.means.values())

    @property
    def turns(self) -> float:
        """Per hour: each workload is one."""
        return self.total("turns") / len(self.means)


def per_workload(lines: Sequence[Line]) -> str:
    names = list(lines[0].means)
    head = ["law", *names, "late", "replica-s", "flaps/h", "failed", "slowest decision s"]
    rows = [_row(line, names) for line in lines]
    return _markdown(head, rows)


def _row(line: Line, names: Sequence[str]) -> list[str]:
    cells = [
        f"{one['late']:.0f} ({one['late'] / one['requests']:.1%}) {one['replica_seconds']:.0f}"
        for one in (line.means[name] for name in names)
    ]
    slowest = max(one["slowest_raise"] for one in line.means.values())
    return [
        line.name,
        *cells,
        f"{line.total('late'):.0f}",
        f"{line.total('replica_seconds'):.0f}",
        f"{line.turns:.1f}",
        f"{line.total('failed'):.1f}",
        f"{slowest:.2f}" if line.kind == "berth" else "",
    ]


def bars(lines: Sequence[Line]) -> str:
    head = ["peer", "late", "replica-s", "Berth's point", "late", "replica-s", "ratio", "bar", ""]
    points = [line for line in lines if line.kind == "berth"]
    rows = [_bar(line, points) for line in lines if line.kind in {"peer", "tuned"}]
    return _markdown(head, rows)


def passed(lines: Sequence[Line]) -> bool:
    """Whether every bar is met of the peers that were measured."""
    points = [line for line in lines if line.kind == "berth"]
    return all(_met(line, points) for line in lines if line.name in BARS)


def _met(peer: Line, points: Sequence[Line]) -> bool:
    best = best_within(points, peer.total("replica_seconds"))
    return (
        best is not None
        and best.total("late") <= BARS[peer.name] * peer.total("late")
        and best.turns <= TURNS_BAR
    )


def _bar(peer: Line, points: Sequence[Line]) -> list[str]:
    start = [peer.name, f"{peer.total('late'):.0f}", f"{peer.total('replica_seconds'):.0f}"]
    bar = BARS.get(peer.name)
    shown = f"{bar:g}" if bar else "-"
    verdict = ("met" if _met(peer, points) else "missed") if bar else ""
    best = best_within(points, peer.total("replica_seconds"))
    if best is None:
        return [*start, "none is as cheap", "", "", "", shown, verdict]
    return [
        *start,
        best.name.removeprefix("Berth, "),
        f"{best.total('late'):.0f}",
        f"{best.total('replica_seconds'):.0f}",
        f"{best.total('late') / peer.total('late'):.2f}",
        shown,
        verdict,
    ]


def best_within(points: Sequence[Line], replica_seconds: float) -> Line | None:
    """The fewest late at no more replica-seconds."""
    cheap = [one for one in points if one.total("replica_seconds") <= replica_seconds]
    return min(cheap, key=lambda one: one.total("late"), default=None)


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
