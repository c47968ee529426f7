"""The next step from the revisions that run to the one that is wanted.

Where there is a spare accelerator the new revision's pods start beside the old ones, and each that
serves lets one old pod be drained. Where there is none, the surge is given up: one old pod at a
time is drained first, and the new one takes its place. A revision that fails in such a place is
given up in turn, and the old one gets its replicas back by the same rules.

Stateless: pods and Deployments, with what is marked on them, tell how far it is, so a restarted
operator goes on where the last stopped.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, NamedTuple

from berth_api import names
from berth_operator.core.known import least
from berth_operator.core.kubernetes import is_ready
from berth_operator.core.observed import Object, Observed
from berth_operator.core.outcome import Patch
from berth_operator.core.resolved import Resolved
from berth_operator.core.revision import Revision, number_of, spec_hash_of
from berth_operator.core.rollout import backoff, blocked, draining, groups, places
from berth_operator.core.rollout.backoff import Pause
from berth_operator.core.rollout.blocked import Blocked
from berth_operator.core.rollout.draining import Resize
from berth_operator.core.rollout.groups import ANNOTATION_PLACE, Group, Look, main_first, only
from berth_operator.core.rollout.sizes import sizes

# A spare accelerator is found by the scheduler at once; what comes free within this was on its way.
PATIENCE: Final = timedelta(seconds=10)


class Run(NamedTuple):
    """A Deployment to have."""

    revision: Revision
    replicas: int
    marks: Mapping[str, str] = {}  # its annotations


@dataclass(frozen=True)
class Step:
    """Deployments to have, pods to mark on the way there, and what is no longer wanted."""

    run: tuple[Run, ...]
    retire: tuple[Object, ...] = ()
    serving: Revision | None = None  # the one that clients meet now
    patches: tuple[Patch, ...] = ()
    poll: tuple[str, ...] = ()  # uids of pods that drain
    blocked: Blocked | None = None  # the update, if it was given up
    pause: Pause | None = None  # of the update, while it lasts
    look_again_seconds: float | None = None


def next_step(
    observed: Observed,
    resolved: Resolved,
    update: Revision | None,
    wanted: int,
    *,
    patience: timedelta = PATIENCE,
) -> Step:
    """Towards `wanted` replicas of `update`; None: there is no plan, and what runs goes on.

    `patience` is how long the surge waits for an accelerator: as long as a node takes to come,
    where the pool may grow.
    """
    look = Look(observed, resolved, wanted, patience)
    known = groups.read(observed)
    if update is None:
        return _hold(look, known)
    fallback = _fallback(look, known.values())
    found = known.pop(update.name, None)
    # Earlier answers to the same spec that serve nothing: they would only hold on to a place.
    earlier = [one for one in known.values() if _answers_as(one, update) and not one.serving]
    # Where no pod has a place it has proven nothing, or is proven and not needed.
    idle = [one for one in known.values() if not one.placed and one.name != fallback]
    past = [one for one in known.values() if one in earlier or one in idle]
    others = main_first(look, [one for one in known.values() if one not in past])
    goal = replace(found or Group(update.name), revision=update)
    if not goal.marks and earlier:  # planned once more: it stands where the one before stood
        goal = replace(goal, marks=only(earlier[-1].marks, ANNOTATION_PLACE))
    taken = _towards(look, goal, others)
    gone = (one.deployment for one in past if one.deployment is not None)
    return replace(taken, retire=(*gone, *taken.retire))


def _towards(look: Look, goal: Group, others: list[Group]) -> Step:
    back = next((one for one in others if one.revision is not None), None)
    held_back = blocked.read(goal.deployment, goal.name)
    if held_back is None and back is not None and look.wanted and goal.serving < look.wanted:
        problem = places.lost(look, goal, others)
        held_back = None if problem is None else Blocked(goal.name, problem)
        if problem is not None:
            goal = replace(goal, marks={blocked.ANNOTATION_BLOCKED: blocked.encoded(problem)})
    if held_back is None or back is None:
        kept = only(goal.marks, ANNOTATION_PLACE, backoff.ANNOTATION_BACKOFF)
        return _forward(look, replace(goal, marks=kept), others)
    return _backward(look, goal, back, [one for one in others if one is not back], held_back)


def _backward(look: Look, given_up: Group, back: Group, rest: list[Group], why: Blocked) -> Step:
    """The one before gets its replicas back: a roll-out with no accelerator to spare."""
    given_up = replace(given_up, marks=only(given_up.marks, blocked.ANNOTATION_BLOCKED))
    sized = sizes(look, replace(back, marks={}), [given_up, *rest], may_lend=True)
    taken = _carry_out(look, sized, stays={back.name, given_up.name})
    return replace(taken, serving=back.revision, blocked=why)


def _forward(look: Look, goal: Group, others: list[Group]) -> Step:
    complete = _complete(look, goal, others)
    marks = {} if complete or not (others and look.wanted) else places.given(look, goal, others)
    pause = _judged(look, goal)
    goal = replace(goal, marks=marks | backoff.marks(pause))
    sized = sizes(look, goal, others, may_lend=bool(marks))
    kept = [] if complete else [one.name for one in others if one.revision is not None][:1]
    taken = _carry_out(look, sized, stays={goal.name, *kept})
    met = goal.serving or goal.name == look.current
    alone = not others or (met and not others[0].serving)
    serves = goal if complete or alone else others[0]
    old = () if others else _old_revisions(look, goal)
    told = replace(taken, serving=serves.revision, retire=(*taken.retire, *old))
    return _until_retried(look, told, pause)


def _judged(look: Look, goal: Group) -> Pause | None:
    return backoff.judged(
        backoff.read(goal.marks),
        goal.pods,
        look.observed.now,
        proven=goal.name == look.current or goal.serving > 0,
        whole=goal.serving >= look.wanted > 0,
    )


def _until_retried(look: Look, step: Step, pause: Pause | None) -> Step:
    """Told, and looked at again when it is over."""
    if pause is None or not pause.lasts(look.observed.now):
        return step
    wishes = (step.look_again_seconds, pause.seconds_left(look.observed.now))
    return replace(step, pause=pause, look_again_seconds=least(wishes))


def _complete(look: Look, goal: Group, others: list[Group]) -> bool:
    """Whether nothing before it is needed any more: also asleep only what has served is proven."""
    if look.wanted:
        return goal.serving >= look.wanted
    return goal.name == look.current or all(one.revision is None for one in others)


def _fallback(look: Look, groups: Iterable[Group]) -> str | None:
    """What served last, which nothing replaces yet; None while one serves that may go on."""
    others = (one for one in groups if one.serving and one.revision is not None)
    replaced = any(blocked.ANNOTATION_BLOCKED not in one.marks for one in others)
    return None if replaced else look.current


def _carry_out(look: Look, sizes: Sequence[tuple[Group, int]], *, stays: set[str]) -> Step:
    """Deployments at their sizes, less what is drained first; empty ones go, unless they stay."""
    sized = [
        (group, _resized(look, group, _bounded(look, group, target))) for group, target in sizes
    ]
    goes = [one.replicas == 0 and group.name not in stays for group, one in sized]
    poll = tuple(uid for _, one in sized for uid in one.draining)
    return Step(
        run=tuple(
            Run(group.revision, one.replicas, group.marks)
            for (group, one), gone in zip(sized, goes, strict=True)
            if group.revision is not None and not gone
        ),
        retire=tuple(
            group.deployment
            for (group, _), gone in zip(sized, goes, strict=True)
            if group.deployment is not None and gone
        ),
        patches=tuple(patch for group, one in sized for patch in _patches(group, one)),
        poll=poll,
        look_again_seconds=draining.LOOK_SECONDS if poll else None,
    )


def _bounded(look: Look, group: Group, target: int) -> int:
    """In a pause there are no more pods than are ready; the try after it is one pod's."""
    pause = backoff.read(group.marks)
    if pause is None:
        return target
    ready = sum(is_ready(pod.object) for pod in group.active)
    if pause.lasts(look.observed.now):
        return min(target, ready)
    return target if ready else min(target, 1)


def _patches(group: Group, sized: Resize) -> tuple[Patch, ...]:
    """Of its pods; of the Deployment itself where no revision tells how to apply it."""
    there = group.deployment
    if there is None or group.revision is not None or sized.replicas == group.asked:
        return sized.patches
    metadata = there["metadata"]
    smaller = {"spec": {"replicas": sized.replicas}}
    mine = Patch("apps/v1", "Deployment", metadata["name"], metadata["uid"], smaller)
    return (*sized.patches, mine)


def _resized(look: Look, group: Group, target: int) -> Resize:
    seconds = look.resolved.spec.rollout.drain_timeout_seconds
    return draining.resize(
        look.observed,
        group.active,
        asked=group.asked,
        target=target,
        timeout=timedelta(seconds=seconds),
    )


def _hold(look: Look, found: dict[str, Group]) -> Step:
    """Without a plan the revision that serves goes on, at the size that is asked for."""
    known = [one for one in found.values() if one.revision is not None]
    if not known:
        return Step(())
    main, *others = main_first(look, known)
    left = [(one, one.asked if look.wanted else 0) for one in others]
    taken = _carry_out(look, [*left, (main, look.wanted)], stays=set(found))
    return replace(taken, serving=main.revision)


def _answers_as(group: Group, update: Revision) -> bool:
    return group.revision is not None and group.revision.spec_hash == update.spec_hash


def _old_revisions(look: Look, goal: Group) -> tuple[Object, ...]:
    """Stored revisions beyond the history limit, oldest first.

    Never the one that runs, nor others of its spec: they tell what has been tried.
    """
    spec_hash = goal.revision.spec_hash if goal.revision is not None else None
    others = sorted(
        (
            one
            for one in look.observed.children.revisions
            if one["metadata"].get("labels", {}).get(names.LABEL_REVISION) != goal.name
            and spec_hash_of(one) != spec_hash
        ),
        key=number_of,
    )
    return tuple(others[: -look.resolved.spec.rollout.revision_history_limit])
