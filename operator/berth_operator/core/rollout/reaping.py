"""Pods that ended for good: the newest are kept to be read, the others go.

Nothing else deletes them before there are thousands in the cluster: a ReplicaSet makes another pod
for one that was evicted, or that its kubelet would not have, and forgets the first.
"""

from typing import Final

from berth_operator.core.kubernetes import is_finished, is_terminating
from berth_operator.core.observed import Object, Observed

KEPT: Final = 5  # as many as make a loop (backoff.FAILURES): they are what tells of one
# A look is short: the rest goes with the next, which the deletions' own events ask for.
MOST_AT_ONCE: Final = 100


def reaped(observed: Observed) -> tuple[Object, ...]:
    finished = [
        pod.object
        for pod in observed.engines
        if is_finished(pod.object) and not is_terminating(pod.object)
    ]
    newest_first = sorted(
        finished, key=lambda pod: pod["metadata"].get("creationTimestamp", ""), reverse=True
    )
    return tuple(newest_first[KEPT:][:MOST_AT_ONCE])
