"""When a model leaves an accelerator that has no room for it, and for which it may.

Nothing is remembered: the stored revisions of a spec tell which accelerators were tried, and their
pods' conditions tell for how long. No accelerator is tried twice for the same spec, so that two
full pools do not hand a model to and fro.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from berth_api.status import Alternative
from berth_operator.core.accelerators.offer import Offer
from berth_operator.core.kubernetes import condition, is_finished, is_terminating
from berth_operator.core.observed import Object, Observed
from berth_operator.core.revision import Revision

# The scheduler's words for what no other accelerator would mend.
_NOT_THE_ACCELERATOR: Final = re.compile("persistentvolumeclaim", re.IGNORECASE)


def waited(observed: Observed, revision: Revision) -> timedelta | None:
    """For how long no node has had room for any of the revision's pods; None if one has a node."""
    pods = [pod.object for pod in observed.pods_of(revision.name)]
    alive = [pod for pod in pods if not (is_terminating(pod) or is_finished(pod))]
    since = [_unschedulable_since(pod) for pod in alive]
    waiting = [moment for moment in since if moment is not None]
    if not waiting or len(waiting) < len(since):
        return None
    return observed.now - min(waiting)


def holder(observed: Observed, newest: Revision, stored: Sequence[Revision]) -> Revision | None:
    """An older revision of the model whose pods have the accelerator that the newest's wait for.

    It goes once the newest serves: that no node has room says nothing of the others' use of it.
    """
    older = (one for one in stored if one.number < newest.number)
    return next(
        (
            one
            for one in older
            if one.plan.accelerator == newest.plan.accelerator and _has_a_node(observed, one)
        ),
        None,
    )


def _has_a_node(observed: Observed, revision: Revision) -> bool:
    """Whether one of its pods takes up a place."""
    return any(
        pod.object["spec"].get("nodeName") and not is_finished(pod.object)
        for pod in observed.pods_of(revision.name)
    )


def _unschedulable_since(pod: Object) -> datetime | None:
    scheduled = condition(pod, "PodScheduled")
    # Pods that a queue holds back have the reason SchedulingGated.
    if (scheduled.get("status"), scheduled.get("reason")) != ("False", "Unschedulable"):
        return None
    if _NOT_THE_ACCELERATOR.search(scheduled.get("message", "")):
        return None
    return datetime.fromisoformat(scheduled["lastTransitionTime"])


def untried(offers: Sequence[Offer], tried: Sequence[Revision]) -> tuple[Offer, ...]:
    """Offers that none of `tried` was planned on, in order of preference.

    A spec that names no accelerators stays with the profile that it was first planned on: it did
    not ask for another device.
    """
    left = (one for one in offers if not any(_is_of(revision, one) for revision in tried))
    first = min(tried, key=lambda revision: revision.number)
    return tuple(
        one for one in left if one.entry is not None or one.profile.name == first.plan.accelerator
    )


def _is_of(revision: Revision, offer: Offer) -> bool:
    held_to = revision.template["spec"].get("nodeSelector", {})
    return (
        revision.entry == offer.entry
        and revision.plan.accelerator == offer.profile.name
        and offer.profile.node_selector.items() <= held_to.items()
    )


def left_behind(newest: Revision, seconds: int) -> list[Alternative]:
    """What the next plan says of the accelerator that is left, and of those before it."""
    plan = newest.plan
    before = [one for one in plan.alternatives if one.accelerator != plan.accelerator]
    return [
        *before,
        Alternative(
            accelerator=plan.accelerator,
            tensor_parallel_size=plan.tensor_parallel_size,
            reason=f"no node had room for {seconds} s",
        ),
    ]
