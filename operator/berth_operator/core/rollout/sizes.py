"""What each revision's Deployment should come to now, so that those that serve are enough."""

from typing import Final

from berth_operator.core.rollout import blocked
from berth_operator.core.rollout.groups import ANNOTATION_PLACE, Group, Look, places_leaving

# Replicas per accelerator that a roll-out may take beyond the wanted ones, or one: Kubernetes'
# own 25 %.
_REPLICAS_PER_SURGE: Final = 4


def sizes(
    look: Look, goal: Group, others: list[Group], *, may_lend: bool
) -> list[tuple[Group, int]]:
    """What each Deployment should come to now. The others are emptied first, as far as may be.

    One that cannot be read could not be brought back: it is left as it is until the goal serves.
    """
    if not others:
        return [(goal, look.wanted)]
    if goal.serving >= look.wanted:
        return [*((one, 0) for one in others), (goal, look.wanted)]
    proven = goal.serving and not look.recreates
    left = [(one, one.asked) for one in others if one.revision is None and not proven]
    rest = [one for one in others if one.revision is not None or proven]
    leaving = places_leaving(look, goal, others)
    if look.recreates:
        return [*left, *_after(look, goal, rest, leaving)]
    serving = goal.serving + sum(one.serving for one, _ in left)
    lent = 1 if may_lend and goal.waits else 0  # a place that comes free meanwhile does as well
    kept = [*left, *_kept(goal, rest, max(0, look.wanted - serving - lent))]
    return [*kept, (goal, _beside(look, goal, kept, leaving))]


def _after(look: Look, goal: Group, others: list[Group], leaving: int) -> list[tuple[Group, int]]:
    """Recreate: the new one once nothing of the old ones is left."""
    gone = not leaving and not any(one.active for one in others)
    # Pods that waited beside the old revision's begin anew: their wait tells nothing.
    size = look.wanted if gone else goal.asked if goal.starting or goal.serving else 0
    return [*((one, 0) for one in others), (goal, size)]


def _beside(look: Look, goal: Group, kept: list[tuple[Group, int]], leaving: int) -> int:
    """As many new pods as there are places, and so many more as a roll-out may take."""
    held = leaving + sum(max(one.placed, size) for one, size in kept)
    surge = max(1, look.wanted // _REPLICAS_PER_SURGE)
    begun = goal.serving + len(goal.starting) if goal.serving else 0
    return min(look.wanted, max(begun, look.wanted + surge - held))


def _kept(goal: Group, others: list[Group], keep: int) -> list[tuple[Group, int]]:
    """Pods that serve are kept first, then those of the main one that may serve again."""
    left, sizes = keep, []
    for one in others:
        sizes.append(min(one.serving, left))
        left -= sizes[-1]
    if others and blocked.ANNOTATION_BLOCKED not in others[0].marks:
        main = others[0]
        # Demand grows while the update is neither proven nor in an old one's place.
        grows = main.may_serve and not goal.serving and ANNOTATION_PLACE not in goal.marks
        sizes[0] += left if grows else max(0, min(left, main.asked - sizes[0]))
    return list(zip(others, sizes, strict=True))
