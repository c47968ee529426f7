"""The next step from the revisions that run to the one that is wanted.

Stateless: progress is what is observed, so a restarted operator goes on where the last stopped.
"""

from dataclasses import dataclass, replace

from berth_api import names
from berth_api.types import RolloutStrategy
from berth_operator.core.kubernetes import is_finished, is_ready
from berth_operator.core.observed import Object, Observed, Pod
from berth_operator.core.resolved import Resolved
from berth_operator.core.revision import Revision, number_of, readable, spec_hash_of


@dataclass(frozen=True)
class Step:
    """Deployments to have, each with its replicas, and objects that are no longer wanted."""

    run: tuple[tuple[Revision, int], ...]
    retire: tuple[Object, ...] = ()
    serving: Revision | None = None  # the one that clients meet now


def step(observed: Observed, resolved: Resolved, update: Revision | None) -> Step:
    replicas = resolved.spec.replicas
    live = _live(observed)
    if update is None:
        return _hold(observed, live, replicas)
    stored = _stored(observed)
    replaced = _replaced(observed, live, stored, update)
    if replaced:
        gone = tuple(_deployment(observed, name) for name in replaced)
        left = {name: count for name, count in live.items() if name not in replaced}
        onwards = _towards(observed, resolved, update, stored, left)
        return replace(onwards, retire=(*gone, *onwards.retire))
    return _towards(observed, resolved, update, stored, live)


def _replaced(
    observed: Observed, live: dict[str, int], stored: dict[str, Revision], update: Revision
) -> tuple[str, ...]:
    """Earlier answers to the same spec that serve nothing: they would only hold on to a place."""
    return tuple(
        name
        for name in live
        if name != update.name
        and name in stored
        and stored[name].spec_hash == update.spec_hash
        and not ready_pods(observed, name)
    )


def _towards(
    observed: Observed,
    resolved: Resolved,
    update: Revision,
    stored: dict[str, Revision],
    live: dict[str, int],
) -> Step:
    replicas = resolved.spec.replicas
    others = {name: count for name, count in live.items() if name != update.name}
    if not others:
        return Step(((update, replicas),), _old_revisions(observed, resolved, update), update)
    ready = len(ready_pods(observed, update.name))
    if ready >= replicas:
        retired = tuple(_deployment(observed, name) for name in others)
        return Step(((update, replicas),), retired, update)
    kept = tuple((stored[name], count) for name, count in others.items() if name in stored)
    old = max(kept, key=lambda pair: pair[0].number)[0] if kept else None
    if resolved.spec.rollout.strategy is RolloutStrategy.RECREATE:
        emptied = tuple((revision, 0) for revision, _ in kept)
        gone = not any(pods_of(observed, revision.name) for revision, _ in kept)
        if gone:
            return Step((*emptied, (update, replicas)), (), old)
        # Pods that waited beside the old revision's begin anew: their wait tells nothing.
        waits = update.name in live and not has_a_node(observed, update)
        return Step((*emptied, *(((update, 0),) if waits else ())), (), old)
    sized = tuple((one, replicas if one is old else count) for one, count in kept)
    return Step((*sized, (update, replicas)), (), old)


def pods_of(observed: Observed, revision: str) -> tuple[Pod, ...]:
    return tuple(
        pod
        for pod in observed.pods
        if pod.object["metadata"]["labels"].get(names.LABEL_REVISION) == revision
    )


def has_a_node(observed: Observed, revision: Revision) -> bool:
    """Whether one of its pods takes up a place."""
    return any(
        pod.object["spec"].get("nodeName") and not is_finished(pod.object)
        for pod in pods_of(observed, revision.name)
    )


def ready_pods(observed: Observed, revision: str) -> tuple[Pod, ...]:
    return tuple(pod for pod in pods_of(observed, revision) if is_ready(pod.object))


def _hold(observed: Observed, live: dict[str, int], replicas: int) -> Step:
    """Without a plan the newest revision goes on, at the size that is asked for."""
    stored = _stored(observed)
    running = sorted((stored[name] for name in live if name in stored), key=lambda r: r.number)
    if not running:
        return Step(())
    newest = running[-1]
    older = tuple((revision, live[revision.name]) for revision in running[:-1])
    return Step((*older, (newest, replicas)), (), newest)


def _live(observed: Observed) -> dict[str, int]:
    """Replicas by revision of the Deployments that exist."""
    return {
        one["metadata"]["labels"][names.LABEL_REVISION]: one["spec"].get("replicas", 1)
        for one in observed.children.deployments
    }


def _stored(observed: Observed) -> dict[str, Revision]:
    """Those that can be read. A Deployment of another is left as it is, until the update serves."""
    return {revision.name: revision for revision in readable(observed.children.revisions)}


def _deployment(observed: Observed, revision: str) -> Object:
    return next(
        one
        for one in observed.children.deployments
        if one["metadata"]["labels"][names.LABEL_REVISION] == revision
    )


def _old_revisions(observed: Observed, resolved: Resolved, update: Revision) -> tuple[Object, ...]:
    """Stored revisions beyond the history limit, oldest first.

    Never the one that runs, nor others of its spec: they tell what has been tried.
    """
    others = sorted(
        (
            one
            for one in observed.children.revisions
            if one["metadata"].get("labels", {}).get(names.LABEL_REVISION) != update.name
            and spec_hash_of(one) != update.spec_hash
        ),
        key=number_of,
    )
    return tuple(others[: -resolved.spec.rollout.revision_history_limit])
