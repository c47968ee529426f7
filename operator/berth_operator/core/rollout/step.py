"""The next step from the revisions that run to the one that is wanted.

Where there is a spare accelerator the new revision's pods start beside the old ones, and each that
serves lets one old pod be drained. Where there is none, the surge is given up: one old pod at a
time is drained first, and the new one takes its place. A revision that fails in such a place is
given up in turn, and the old one gets its replicas back by the same rules.

Stateless: pods and Deployments, with what is marked on them, tell how far it is, so a restarted
operator goes on where the last stopped.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from berth_api import names
from berth_api.types import RolloutStrategy
from berth_operator.core import blocked, draining, problems
from berth_operator.core.blocked import Blocked
from berth_operator.core.draining import Resize
from berth_operator.core.kubernetes import (
    annotation,
    condition,
    is_active,
    is_finished,
    is_ready,
    is_serving,
    is_terminating,
    moment,
    requests,
    unschedulable_since,
)
from berth_operator.core.observed import Object, Observed, Pod
from berth_operator.core.outcome import Patch
from berth_operator.core.problems import Problem
from berth_operator.core.resolved import Resolved
from berth_operator.core.revision import Revision, number_of, readable, spec_hash_of

# On the update's Deployment, once it was given an old pod's place: since when that place is free
# and the update's pod has not got it, or TAKING.
ANNOTATION_PLACE: Final = f"{names.GROUP}/takes-place"
TAKING: Final = "Taking"

# Replicas per accelerator that a roll-out may take beyond the wanted ones, or one: Kubernetes'
# own 25 %.
_REPLICAS_PER_SURGE: Final = 4
# A spare accelerator is found by the scheduler at once; what comes free within this was on its way.
PATIENCE: Final = timedelta(seconds=10)
# The scheduler tries a pod again within 10 s of a place's coming free; one that has not got it
# after this needs more than that place.
_PLACE: Final = timedelta(seconds=60)
# A pod that has not gone so long after its own deadline is on a lost node: its place is nobody's.
_LOST: Final = timedelta(seconds=60)
# The scheduler's and the quota's words for what another pod's going would mend.
_LACKS: Final = ("Insufficient", "exceeded quota")
# Of a pod's spec: what keeps it from nodes that have what it requests.
_NARROWS: Final = ("nodeSelector", "affinity", "tolerations", "volumes")


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
    look_again_seconds: float | None = None


def step(
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
    look = _Look(observed, resolved, wanted, patience)
    groups = _groups(observed)
    if update is None:
        return _hold(look, groups)
    found = groups.pop(update.name, None)
    # Earlier answers to the same spec that serve nothing: they would only hold on to a place.
    earlier = [one for one in groups.values() if _answers_as(one, update) and not one.serving]
    past = [one for one in groups.values() if one in earlier or _never_ran(look, one)]
    others = _main_first(look, [one for one in groups.values() if one not in past])
    goal = replace(found or _Group(update.name), revision=update)
    if not goal.marks and earlier:  # planned once more: it stands where the one before stood
        goal = replace(goal, marks=_only(earlier[-1].marks, ANNOTATION_PLACE))
    taken = _towards(look, goal, others)
    gone = (one.deployment for one in past if one.deployment is not None)
    return replace(taken, retire=(*gone, *taken.retire))


@dataclass(frozen=True)
class _Look:
    """What every rule of one step needs."""

    observed: Observed
    resolved: Resolved
    wanted: int
    patience: timedelta

    @property
    def current(self) -> str | None:
        """The revision that served last, as it was told."""
        told: str | None = self.observed.cr.get("status", {}).get("currentRevision")
        return told

    @property
    def recreates(self) -> bool:
        return self.resolved.spec.rollout.strategy is RolloutStrategy.RECREATE


@dataclass(frozen=True)
class _Group:
    """A revision's Deployment and pods. Without a revision it cannot be read, only drained."""

    name: str
    revision: Revision | None = None
    deployment: Object | None = None
    pods: tuple[Pod, ...] = ()
    marks: Mapping[str, str] = field(default_factory=dict)

    @property
    def asked(self) -> int:
        asked: int = 0 if self.deployment is None else self.deployment["spec"].get("replicas", 1)
        return asked

    @property
    def active(self) -> tuple[Pod, ...]:
        return tuple(pod for pod in self.pods if is_active(pod.object))

    @property
    def placed(self) -> int:
        return sum(bool(pod.object["spec"].get("nodeName")) for pod in self.active)

    @property
    def serving(self) -> int:
        return sum(is_serving(pod.object) for pod in self.pods)

    @property
    def starting(self) -> tuple[Pod, ...]:
        """Pods that have a place and are not ready."""
        return tuple(
            pod
            for pod in self.active
            if pod.object["spec"].get("nodeName") and not is_ready(pod.object)
        )

    @property
    def waits(self) -> tuple["_Wait", ...]:
        """For places: of pods that no node has room for, and of those that a quota forbids."""
        unplaced = ((unschedulable_since(pod.object), problems.of_pod(pod)) for pod in self.active)
        unmade = (
            (_unmade_since(one), problems.of_deployment(one)) for one in (self.deployment,) if one
        )
        return tuple(
            _Wait(since, problem)
            for since, problem in (*unplaced, *unmade)
            if since is not None and problem is not None
        )


@dataclass(frozen=True)
class _Wait:
    since: datetime
    problem: Problem

    @property
    def is_lack(self) -> bool:
        """Whether another pod's going would mend it."""
        return any(word in self.problem.failure.message for word in _LACKS)


def _unmade_since(deployment: Object) -> datetime | None:
    return moment(condition(deployment, "ReplicaFailure").get("lastTransitionTime"))


def _towards(look: _Look, goal: _Group, others: list[_Group]) -> Step:
    back = next((one for one in others if one.revision is not None), None)
    held_back = blocked.read(goal.deployment, goal.name)
    if held_back is None and back is not None and look.wanted and goal.serving < look.wanted:
        problem = _lost_its_place(look, goal, others)
        held_back = None if problem is None else Blocked(goal.name, problem)
        if problem is not None:
            goal = replace(goal, marks={blocked.ANNOTATION_BLOCKED: blocked.encoded(problem)})
    if held_back is None or back is None:
        return _forward(look, replace(goal, marks=_only(goal.marks, ANNOTATION_PLACE)), others)
    return _backward(look, goal, back, [one for one in others if one is not back], held_back)


def _backward(
    look: _Look, given_up: _Group, back: _Group, rest: list[_Group], why: Blocked
) -> Step:
    """The one before gets its replicas back: a roll-out with no accelerator to spare."""
    given_up = replace(given_up, marks=_only(given_up.marks, blocked.ANNOTATION_BLOCKED))
    sizes = _sizes(look, replace(back, marks={}), [given_up, *rest], may_lend=True)
    taken = _carry_out(look, sizes, stays={back.name, given_up.name})
    return replace(taken, serving=back.revision, blocked=why)


def _forward(look: _Look, goal: _Group, others: list[_Group]) -> Step:
    complete = _complete(look, goal, others)
    marks = {} if complete or not (others and look.wanted) else _place(look, goal, others)
    goal = replace(goal, marks=marks)
    sizes = _sizes(look, goal, others, may_lend=bool(marks))
    kept = [] if complete else [one.name for one in others if one.revision is not None][:1]
    taken = _carry_out(look, sizes, stays={goal.name, *kept})
    met = goal.serving or goal.name == look.current
    alone = not others or (met and not others[0].serving)
    serves = goal if complete or alone else others[0]
    old = () if others else _old_revisions(look, goal)
    return replace(taken, serving=serves.revision, retire=(*taken.retire, *old))


def _complete(look: _Look, goal: _Group, others: list[_Group]) -> bool:
    """Whether nothing before it is needed any more: also asleep only what has served is proven."""
    if look.wanted:
        return goal.serving >= look.wanted
    return goal.name == look.current or all(one.revision is None for one in others)


def _never_ran(look: _Look, one: _Group) -> bool:
    """Where none of its pods has a place it has proven nothing, unless it is what served last."""
    told = look.current is None or look.current == one.name
    return not (one.placed or told)


def _sizes(
    look: _Look, goal: _Group, others: list[_Group], *, may_lend: bool
) -> list[tuple[_Group, int]]:
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
    leaving = _leaving(look, goal, others)
    if look.recreates:
        return [*left, *_after(look, goal, rest, leaving)]
    serving = goal.serving + sum(one.serving for one, _ in left)
    lent = 1 if may_lend and goal.waits else 0  # a place that comes free meanwhile does as well
    kept = [*left, *_kept(goal, rest, max(0, look.wanted - serving - lent))]
    return [*kept, (goal, _beside(look, goal, kept, leaving))]


def _after(
    look: _Look, goal: _Group, others: list[_Group], leaving: int
) -> list[tuple[_Group, int]]:
    """Recreate: the new one once nothing of the old ones is left."""
    gone = not leaving and not any(one.active for one in others)
    # Pods that waited beside the old revision's begin anew: their wait tells nothing.
    size = look.wanted if gone else goal.asked if goal.starting or goal.serving else 0
    return [*((one, 0) for one in others), (goal, size)]


def _beside(look: _Look, goal: _Group, kept: list[tuple[_Group, int]], leaving: int) -> int:
    """As many new pods as there are places, and so many more as a roll-out may take."""
    held = leaving + sum(max(one.placed, size) for one, size in kept)
    surge = max(1, look.wanted // _REPLICAS_PER_SURGE)
    begun = goal.serving + len(goal.starting) if goal.serving else 0
    return min(look.wanted, max(begun, look.wanted + surge - held))


def _kept(goal: _Group, others: list[_Group], keep: int) -> list[tuple[_Group, int]]:
    """Pods that serve are kept first, then those of the main one that may serve again."""
    left, sizes = keep, []
    for one in others:
        sizes.append(min(one.serving, left))
        left -= sizes[-1]
    if others and blocked.ANNOTATION_BLOCKED not in others[0].marks:
        main = others[0]
        # Demand grows while the update is neither proven nor in an old one's place.
        grows = main.serving and not goal.serving and ANNOTATION_PLACE not in goal.marks
        sizes[0] += left if grows else max(0, min(left, main.asked - sizes[0]))
    return list(zip(others, sizes, strict=True))


def _leaving(look: _Look, goal: _Group, others: list[_Group]) -> int:
    """Pods of other revisions that end, or whose Deployment has gone, and still have places."""
    stay = {id(pod) for one in others for pod in one.active}
    return sum(
        bool(pod.object["spec"].get("nodeName"))
        and not is_finished(pod.object)
        and not _is_lost(pod.object, look.observed.now)
        for pod in look.observed.engines
        if _revision_of(pod) != goal.name and id(pod) not in stay
    )


def _is_lost(pod: Object, now: datetime) -> bool:
    """The timestamp of a deletion is when it should be over."""
    deadline = moment(pod["metadata"].get("deletionTimestamp"))
    return deadline is not None and now - deadline > _LOST


def _place(look: _Look, goal: _Group, others: list[_Group]) -> dict[str, str]:
    """Whether an old pod's place is given to the update, and how long it has been free."""
    before = goal.marks.get(ANNOTATION_PLACE)
    stuck = _is_stuck(look, goal, others)
    if before is None:
        return {ANNOTATION_PLACE: TAKING} if stuck and _gives_up(look, goal, others) else {}
    given = sum(len(one.active) for one in others) < look.wanted - goal.serving
    if not (stuck and given):
        return {ANNOTATION_PLACE: TAKING}
    since = draining.past(before, look.observed.now) or look.observed.now
    return {ANNOTATION_PLACE: since.isoformat()}


def _is_stuck(look: _Look, goal: _Group, others: list[_Group]) -> bool:
    """Whether the update has no place, and none is on its way to it."""
    drains = any(draining.is_draining(pod.object) for one in others for pod in one.active)
    moves = drains or _leaving(look, goal, others) or goal.starting
    return bool(goal.waits) and not moves


def _gives_up(look: _Look, goal: _Group, others: list[_Group]) -> bool:
    """Whether the surge has waited long enough for what an old pod has.

    An old revision that serves nobody is not worth waiting for.
    """
    longest = min(goal.waits, key=lambda wait: wait.since)
    helps = longest.is_lack and any(_has_what_lacks(one, goal) for one in others)
    serves = any(one.serving for one in others)
    return helps and (not serves or look.observed.now - longest.since >= look.patience)


def _has_what_lacks(old: _Group, goal: _Group) -> bool:
    if old.revision is None or goal.revision is None:
        return False
    same = old.revision.plan.accelerator == goal.revision.plan.accelerator
    return same and any(pod.object["spec"].get("nodeName") for pod in old.active)


def _lost_its_place(look: _Look, goal: _Group, others: list[_Group]) -> Problem | None:
    """Why an update that took an old one's place is given up; None while it may still start."""
    taken = ANNOTATION_PLACE in goal.marks or look.recreates
    # Woken, or left by an interrupted roll-out: what it falls back to has no pods.
    alone = not any(one.asked for one in others) and not (goal.serving or goal.name == look.current)
    in_the_way = goal.starting and any(one.waits for one in others)
    if not (taken or alone or in_the_way):
        return None  # it stands beside what serves, and may go on trying
    problem = blocked.failed(pod for pod in goal.pods if not is_terminating(pod.object))
    if problem is not None:
        return problem
    if alone and _waits_in_vain(look, goal, others):
        return goal.waits[0].problem
    free_since = moment(goal.marks.get(ANNOTATION_PLACE))
    waited = free_since is not None and look.observed.now - free_since >= _PLACE
    if not waited or not _is_stuck(look, goal, others):
        return None
    return goal.waits[0].problem


def _waits_in_vain(look: _Look, goal: _Group, others: list[_Group]) -> bool:
    """Whether an update that woke alone finds no place where the one before it may find one."""
    if not _is_stuck(look, goal, others):
        return False
    longest = min(goal.waits, key=lambda wait: wait.since)
    waited = look.observed.now - longest.since >= max(_PLACE, look.patience)
    return waited and any(_may_fit(one, goal, longest) for one in others)


def _may_fit(old: _Group, goal: _Group, wait: _Wait) -> bool:
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


def _carry_out(look: _Look, sizes: Sequence[tuple[_Group, int]], *, stays: set[str]) -> Step:
    """Deployments at their sizes, less what is drained first; empty ones go, unless they stay."""
    sized = [(group, _resized(look, group, target)) for group, target in sizes]
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


def _patches(group: _Group, sized: Resize) -> tuple[Patch, ...]:
    """Of its pods; of the Deployment itself where no revision tells how to apply it."""
    there = group.deployment
    if there is None or group.revision is not None or sized.replicas == group.asked:
        return sized.patches
    metadata = there["metadata"]
    smaller = {"spec": {"replicas": sized.replicas}}
    mine = Patch("apps/v1", "Deployment", metadata["name"], metadata["uid"], smaller)
    return (*sized.patches, mine)


def _resized(look: _Look, group: _Group, target: int) -> Resize:
    seconds = look.resolved.spec.rollout.drain_timeout_seconds
    return draining.resize(
        look.observed,
        group.active,
        asked=group.asked,
        target=target,
        timeout=timedelta(seconds=seconds),
    )


def _hold(look: _Look, groups: dict[str, _Group]) -> Step:
    """Without a plan the revision that serves goes on, at the size that is asked for."""
    known = [one for one in groups.values() if one.revision is not None]
    if not known:
        return Step(())
    main, *others = _main_first(look, known)
    left = [(one, one.asked if look.wanted else 0) for one in others]
    taken = _carry_out(look, [*left, (main, look.wanted)], stays=set(groups))
    return replace(taken, serving=main.revision)


def _main_first(look: _Look, groups: Iterable[_Group]) -> list[_Group]:
    """The one that clients meet first, as it was told last; then those that serve, the newest."""

    def rank(one: _Group) -> tuple[bool, bool, bool, int, int, int]:
        given_up = blocked.ANNOTATION_BLOCKED in one.marks
        current = one.name == look.current
        serves = bool(one.serving or (current and one.asked))
        number = one.revision.number if one.revision is not None else 0
        return not given_up, serves, current, one.serving, len(one.active), number

    return sorted(groups, key=rank, reverse=True)


def pods_of(observed: Observed, revision: str) -> tuple[Pod, ...]:
    return tuple(pod for pod in observed.pods if _revision_of(pod) == revision)


def _revision_of(pod: Pod) -> str | None:
    found: str | None = pod.object["metadata"]["labels"].get(names.LABEL_REVISION)
    return found


def has_a_node(observed: Observed, revision: Revision) -> bool:
    """Whether one of its pods takes up a place."""
    return any(
        pod.object["spec"].get("nodeName") and not is_finished(pod.object)
        for pod in pods_of(observed, revision.name)
    )


def _groups(observed: Observed) -> dict[str, _Group]:
    """The Deployments that exist, by revision, oldest first."""
    stored = {one.name: one for one in readable(observed.children.revisions)}
    found = [
        _group(observed, one, stored.get(one["metadata"]["labels"][names.LABEL_REVISION]))
        for one in observed.children.deployments
    ]
    found.sort(key=lambda one: one.revision.number if one.revision is not None else 0)
    return {one.name: one for one in found}


def _group(observed: Observed, deployment: Object, revision: Revision | None) -> _Group:
    name = deployment["metadata"]["labels"][names.LABEL_REVISION]
    ours = (ANNOTATION_PLACE, blocked.ANNOTATION_BLOCKED)
    found = {mark: annotation(deployment, mark) for mark in ours}
    return _Group(
        name=name,
        revision=revision,
        deployment=deployment,
        pods=pods_of(observed, name),
        marks={mark: text for mark, text in found.items() if text is not None},
    )


def _only(marks: Mapping[str, str], mark: str) -> dict[str, str]:
    return {mark: marks[mark]} if mark in marks else {}


def _answers_as(group: _Group, update: Revision) -> bool:
    return group.revision is not None and group.revision.spec_hash == update.spec_hash


def _old_revisions(look: _Look, goal: _Group) -> tuple[Object, ...]:
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
