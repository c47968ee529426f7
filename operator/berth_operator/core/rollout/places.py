"""Whether an update may take an old pod's place, and when it has taken it in vain.

An update that has no accelerator of its own is given one pod's, and gives it back if it fails.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from berth_operator.core import node_health
from berth_operator.core.kubernetes import is_terminating, moment, requests
from berth_operator.core.observed import Pod
from berth_operator.core.problems import Problem
from berth_operator.core.rollout import blocked, draining
from berth_operator.core.rollout.groups import (
    ANNOTATION_PLACE,
    TAKING,
    Group,
    Look,
    Wait,
    places_leaving,
)

# The scheduler tries a pod again within 10 s of a place's coming free; one that has not got it
# after this needs more than that place.
_PLACE: Final = timedelta(seconds=60)
# Of a pod's spec: what keeps it from nodes that have what it requests.
_NARROWS: Final = ("nodeSelector", "affinity", "tolerations", "volumes")


def given(look: Look, goal: Group, others: list[Group]) -> dict[str, str]:
    """Whether an old pod's place is given to the update, and how long it has been free."""
    before = goal.marks.get(ANNOTATION_PLACE)
    stuck = _is_stuck(look, goal, others)
    if before is None:
        return {ANNOTATION_PLACE: TAKING} if stuck and _gives_up(look, goal, others) else {}
    freed = sum(len(one.active) for one in others) < look.wanted - goal.serving
    if not (stuck and freed):
        return {ANNOTATION_PLACE: TAKING}
    since = draining.past(before, look.observed.now) or look.observed.now
    return {ANNOTATION_PLACE: since.isoformat()}


def _is_stuck(look: Look, goal: Group, others: list[Group]) -> bool:
    """Whether the update has no place, and none is on its way to it."""
    drains = any(draining.is_draining(pod.object) for one in others for pod in one.active)
    moves = drains or places_leaving(look, goal, others) or goal.starting
    return bool(goal.waits) and not moves


def _gives_up(look: Look, goal: Group, others: list[Group]) -> bool:
    """Whether the surge has waited long enough for what an old pod has.

    An old revision that serves nobody is not worth waiting for.
    """
    longest = min(goal.waits, key=lambda wait: wait.since)
    helps = longest.is_lack and any(_has_what_lacks(one, goal) for one in others)
    serves = any(one.serving for one in others)
    return helps and (not serves or look.observed.now - longest.since >= look.patience)


def _has_what_lacks(old: Group, goal: Group) -> bool:
    if old.revision is None or goal.revision is None:
        return False
    same = old.revision.plan.accelerator == goal.revision.plan.accelerator
    return same and any(pod.object["spec"].get("nodeName") for pod in old.active)


def lost(look: Look, goal: Group, others: list[Group]) -> Problem | None:
    """Why an update that took an old one's place is given up; None while it may still start."""
    taken = ANNOTATION_PLACE in goal.marks or look.recreates
    # Woken, or left by an interrupted roll-out: what it falls back to has no pods.
    alone = not any(one.asked for one in others) and not (goal.serving or goal.name == look.current)
    in_the_way = goal.starting and any(one.waits for one in others)
    if not (taken or alone or in_the_way):
        return None  # it stands beside what serves, and may go on trying
    problem = blocked.failed(_its_own(look, goal))
    if problem is not None:
        return problem
    if alone and _waits_in_vain(look, goal, others):
        return goal.waits[0].problem
    free_since = moment(goal.marks.get(ANNOTATION_PLACE))
    waited = free_since is not None and look.observed.now - free_since >= _PLACE
    if not waited or not _is_stuck(look, goal, others):
        return None
    return goal.waits[0].problem


def _its_own(look: Look, goal: Group) -> Iterator[Pod]:
    """Pods whose failures are the revision's: a broken card fails whatever runs on it."""
    faults = node_health.faults(look.observed)
    return (
        pod
        for pod in goal.pods
        if not is_terminating(pod.object) and pod.object["spec"].get("nodeName") not in faults
    )


def _waits_in_vain(look: Look, goal: Group, others: list[Group]) -> bool:
    """Whether an update that woke alone finds no place where the one before it may find one."""
    if not _is_stuck(look, goal, others):
        return False
    longest = min(goal.waits, key=lambda wait: wait.since)
    waited = look.observed.now - longest.since >= max(_PLACE, look.patience)
    return waited and any(_may_fit(one, goal, longest) for one in others)


def _may_fit(old: Group, goal: Group, wait: Wait) -> bool:
    """Whether the old one's pods may go where the new ones' may not; else both wait alike."""
    if old.revision is None or goal.revision is None:
        return False
    before, after = (one.template.get("spec", {}) for one in (old.revision, goal.revision))
    elsewhere = any(before.get(key) != after.get(key) for key in _NARROWS)
    had = requests(before)
    return elsewhere or any(
        name in wait.problem.failure.message and had.get(name, 0) < amount
        for name, amount in requests(after).items()
    )
