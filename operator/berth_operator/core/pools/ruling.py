"""From what is seen of a pool to the residency law's question, and back to engines by name."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from berth_api import names
from berth_api.quantity import parse_duration
from berth_api.spec import DEFAULT_KEEP_ALIVE
from berth_operator.core.accelerators.offer import Offer
from berth_operator.core.known import least
from berth_operator.core.kubernetes import is_ready, moment
from berth_operator.core.objects.pod_template import expected_start_seconds
from berth_operator.core.observed import Pod
from berth_operator.core.pools import cards
from berth_operator.core.pools.failures import History
from berth_operator.core.pools.observed import Member, PoolObserved, uid
from berth_operator.core.pools.residents import reports, residents
from berth_operator.core.pools.revision import PooledRevision
from berth_operator.core.residency.pool import Demand, Engine, PodRoom, Policy, Pool


def question(observed: PoolObserved, offer: Offer, history: Mapping[str, History]) -> Pool:
    policy = observed.pool.spec.residency
    there = residents(observed)
    serving = frozenset(one.engine for one in there if one.state == "Serving")
    engines = tuple(
        _engine(observed, revision, history.get(id_, History()), serving)
        for id_, revision in observed.plans.items()
    )
    return Pool(
        now=observed.now.timestamp(),
        policy=Policy(
            min_residency_seconds=policy.min_residency_seconds,
            starvation_seconds=policy.starvation_seconds,
            max_engines=policy.max_engines,
        ),
        pods=tuple(_pod(one, offer) for one in observed.active),
        engines=engines,
        residents=there,
        demand={one.id: _demand(observed, one.id) for one in engines},
    )


def _pod(pod: Pod, offer: Offer) -> PodRoom:
    """One that does not answer takes no orders; what it has, it keeps."""
    return PodRoom(
        uid=uid(pod),
        cards=cards.room(offer),
        ready=pod.report is not None and is_ready(pod.object),
    )


def _engine(
    observed: PoolObserved, revision: PooledRevision, history: History, serving: Collection[str]
) -> Engine:
    members = observed.asked_by.get(revision.id, ())
    served = _served(observed, revision.id)
    pins = [at for one in _at_work(members) if (at := _pinned_since(one)) is not None]
    blocked = history.blocked_until
    return Engine(
        id=revision.id,
        models=tuple(one.name for one in members),
        card_bytes=revision.card_bytes,
        load_seconds=history.load_seconds or expected_start_seconds(revision.plan),
        cards=revision.cards,
        priority=max((one.resolved.spec.priority or 0 for one in members), default=0),
        evictable=all(one.resolved.spec.evictable is not False for one in members),
        pinned_since=min(pins, default=None),
        unload_asked=_unload_asked(members),
        keep_alive_seconds=_keep_alive(members or served),
        blocked_until=None if blocked is None else blocked.timestamp(),
        supersedes=_supersedes(revision, _at_work(members), serving),
        paused=any(one.paused for one in served),
    )


def _at_work(members: Iterable[Member]) -> tuple[Member, ...]:
    """Nothing is loaded for the others: whoever asks for them is answered by what is there."""
    return tuple(one for one in members if not one.paused)


def _pinned_since(member: Member) -> float | None:
    """Loaded by name and not unloaded since, or with a keep-alive that never ends."""
    asked, unloaded = member.load_asked, member.unload_asked
    if asked is not None and (unloaded is None or asked > unloaded):
        return asked.timestamp()
    if unloaded is not None or parse_duration(_own_keep_alive(member)) is not None:
        return None
    created = moment(member.cr["metadata"].get("creationTimestamp"))
    return None if created is None else created.timestamp()


def _unload_asked(members: Iterable[Member]) -> float | None:
    """Only where each of its models was: the others still want it."""
    asked = [one.unload_asked for one in members]
    if not asked or any(one is None for one in asked):
        return None
    return max(one.timestamp() for one in asked if one is not None)


def _own_keep_alive(member: Member) -> str:
    return member.resolved.spec.keep_alive or DEFAULT_KEEP_ALIVE


def _served(observed: PoolObserved, engine: str) -> tuple[Member, ...]:
    """Models whose engine it is or was: until their new one serves, it answers for them."""
    members = observed.members
    return tuple(one for one in members if any(plan.id == engine for plan in one.revisions))


def _keep_alive(members: Iterable[Member]) -> float | None:
    """The longest of its models'; None: for ever. Without models it goes as soon as it is idle."""
    found = [one.load.keep_alive(one.resolved.spec.keep_alive) for one in members]
    if any(one is None for one in found):
        return None
    return max((one for one in found if one is not None), default=0.0)


def _supersedes(
    revision: PooledRevision, members: Iterable[Member], serving: Collection[str]
) -> str | None:
    """The engine that answers for one of its models until it serves: the newest such."""
    others = (one.id for member in members for one in reversed(member.revisions))
    return next((one for one in others if one != revision.id and one in serving), None)


def _demand(observed: PoolObserved, engine: str) -> Demand:
    """Held requests are of the engine that a spec asks for; those in flight of where they are."""
    members = _at_work(observed.asked_by.get(engine, ()))
    served = _served(observed, engine)
    idle = least(one.load.idle_seconds for one in served)
    asked = least(one.load.asked_seconds for one in served)
    if not observed.complete:
        idle = asked = 0.0  # until every gateway was heard, nothing has been idle
    return Demand(
        held=sum(one.load.held for one in members),
        oldest_held_seconds=max((one.load.oldest_seconds for one in members), default=0.0),
        in_flight=_in_flight(observed, engine, served),
        idle_seconds=idle,
        last_wanted=None if asked is None else _before(observed.now, asked),
    )


def _before(now: datetime, seconds: float) -> float:
    return now.timestamp() - seconds


def _in_flight(observed: PoolObserved, engine: str, members: Collection[Member]) -> int:
    """What its pod counts, or the gateways, who know of a request first."""
    counted, sent = 0, 0
    for pod in observed.active:
        for one in reports(pod):
            if one.id == engine and one.phase.value == "Serving":
                counted += one.in_flight or 0
                here = names.pool_endpoint(uid(pod), engine)
                sent += sum(member.load.in_flight.get(here, 0) for member in members)
    return max(counted, sent)
