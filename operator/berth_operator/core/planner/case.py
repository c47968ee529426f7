"""One question to the planner, and what may be tried for it: sizes, batches and nodes, in order."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from berth_api.spec import Spec
from berth_operator.core.accelerators.offer import Offer
from berth_operator.core.model.adapters import Adapters
from berth_operator.core.model.shape import ModelShape
from berth_operator.core.planner.attempt import Attempt, attempt
from berth_operator.core.planner.learned import Correction
from berth_operator.core.planner.reserves import Batch
from berth_operator.core.planner.wishes import Wishes, corrected, legal

# More nodes than this for one replica is a mistake in the question.
MOST_NODES: Final = 16

Learned = Callable[[Offer, int, Batch], Correction | None]
"""What was measured of this model on an offer, at a tensor-parallel size and a batch."""


def nothing_learned(_: Offer, __: int, ___: Batch) -> Correction | None:
    return None


@dataclass(frozen=True)
class Case:
    """One question: this model, on this offer, as asked."""

    shape: ModelShape
    offer: Offer
    spec: Spec
    asked: Wishes
    learned: Learned
    adapters: Adapters | None = None

    def attempts(self, nodes: int = 1) -> Iterator[Attempt]:
        """Smallest size first, largest batch first."""
        return (one for tried in self.by_size(nodes) for one in tried)

    def by_size(self, nodes: int) -> Iterator[list[Attempt]]:
        """For each size, smallest first, an attempt for each batch, largest first."""
        for size in self.asked.sizes:
            yield [self.attempt(size, nodes, batch) for batch in self.asked.batches]

    def attempt(self, size: int, nodes: int, batch: Batch) -> Attempt:
        learned = self.learned(self.offer, size, batch)
        asked, learned_bytes = corrected(self.asked, self.offer, learned)
        return attempt(
            self.shape,
            self.offer,
            self.spec,
            asked,
            tensor_parallel=size,
            nodes=nodes,
            batch=batch,
            learned_bytes=learned_bytes,
            adapters=self.adapters,
        )


def fitting(case: Case, nodes: int) -> Attempt | None:
    """The first size with a usable context, else the longest that is not too short."""
    context = case.asked.context
    sized: list[Attempt] = []
    for tried in case.by_size(nodes):
        sized.append(longest(tried))
        if sized[-1].context >= context.usable:
            return sized[-1]
    found = longest(sized)
    return found if found.context >= context.least else None


def longest(tried: Sequence[Attempt]) -> Attempt:
    """Of the longest context; the first of them, which is the largest batch."""
    return max(tried, key=lambda one: one.context)


def together(case: Case) -> Attempt | None:
    """On as few whole nodes as it takes; slices and the CPU are never joined."""
    size, cards = case.asked.sizes[-1], case.offer.cards_per_node
    if case.offer.sliced or cards < 2 or size != legal(case.shape, case.offer, cards)[-1]:  # noqa: PLR2004
        return None
    whole = replace(case, asked=replace(case.asked, sizes=(size,)))
    most = min(MOST_NODES, case.shape.layers)
    counts = range(2, most + 1) if case.asked.nodes == 1 else (case.asked.nodes,)
    found = (fitting(whole, nodes) for nodes in counts)
    return next((one for one in found if one is not None), None)
