"""Models as they stand: their objects, and what the gateways count of them."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic import ValidationError

from berth_api import names
from berth_api.demand import Demand
from berth_api.model_deployment import ModelDeployment
from berth_api.pool import ModelPool, PoolStatus
from berth_api.seat import Seat, find, seats
from berth_api.spec import Spec
from berth_api.status import Status
from berth_cli.access import Session
from berth_cli.errors import InputError, Refused
from berth_cli.pools import KnownPool
from berth_operator.cluster import demand_calls, kinds
from berth_operator.core.kubernetes import is_ready
from berth_operator.core.pools.pool import named_by
from berth_operator.errors import BerthError, NotFound

GATEWAYS: Final = (
    f"{names.LABEL_NAME}={names.PART_OF},{names.LABEL_COMPONENT}={names.COMPONENT_GATEWAY}"
)
_ONCE: Final = f"{names.PATH_DEMAND}?once=true"

Object = Mapping[str, Any]


@dataclass(frozen=True)
class Asked:
    """What a model's clients do, counted by all gateways."""

    in_flight: int = 0
    held: int = 0
    oldest_held_seconds: float = 0.0


@dataclass(frozen=True)
class Counts:
    """`by_model` is None where a gateway has not told: a part of a sum is no sum."""

    by_model: Mapping[tuple[str, str], Asked] | None
    why_unknown: str = ""

    def of(self, namespace: str, name: str) -> Asked | None:
        return None if self.by_model is None else self.by_model.get((namespace, name), Asked())


@dataclass(frozen=True)
class Known:
    """A ModelDeployment, read. `asked` is None where it cannot be known."""

    namespace: str
    name: str
    spec: Spec
    status: Status
    asked: Asked | None
    seat: Seat | None = None  # of a pool's model


async def known(session: Session, name: str) -> Known:
    """Raises InputError where there is no such model, and what `Cluster` raises."""
    cr = await read(session, name)
    found = _known(cr, await counts(session))
    return (await _seated(session, session.namespace, [found]))[0]


async def read(session: Session, name: str) -> Object:
    """Raises InputError where there is no such model."""
    try:
        return await session.api.get(kinds.MODEL, session.namespace, name)
    except NotFound as error:
        raise InputError(
            f"MODEL {name}: there is no ModelDeployment of that name in namespace "
            f"{session.namespace}; `berth ps -A` shows all"
        ) from error


async def every(session: Session, namespace: str | None) -> tuple[list[Known], str]:
    """By namespace and name, and why counts are unknown; `namespace` None is every one."""
    found = await session.api.list_all(kinds.MODEL, namespace)
    counted = await counts(session)
    models = await _seated(session, namespace, [_known(cr, counted) for cr in found])
    return sorted(models, key=lambda one: (one.namespace, one.name)), counted.why_unknown


async def _seated(session: Session, namespace: str | None, found: list[Known]) -> list[Known]:
    """With what their pools say of them, where there are any."""
    if all(one.spec.pool is None for one in found):
        return found
    told: dict[str, dict[str, dict[str, Seat]]] = {}
    for pool in await pools(session, namespace):
        told.setdefault(pool.namespace, {})[pool.name] = seats(pool.name, pool.status)
    return [
        one
        if one.spec.pool is None
        else replace(one, seat=find(one.spec.pool, one.name, told.get(one.namespace, {})))
        for one in found
    ]


async def seat(session: Session, model: Object) -> Seat | None:
    """What its pool says of a model; None: it is in none."""
    name = named_by(model)
    if name is None:
        return None
    told = {
        one.name: seats(one.name, one.status) for one in await pools(session, session.namespace)
    }
    return find(name, model["metadata"]["name"], told)


async def pools(session: Session, namespace: str | None) -> list[KnownPool]:
    """By namespace and name; `namespace` None is every one."""
    found = [_pool(cr) for cr in await session.api.list_all(kinds.POOL, namespace)]
    return sorted(found, key=lambda one: (one.namespace, one.name))


def _pool(cr: Object) -> KnownPool:
    """Raises InputError for an object of a version that cannot be read here."""
    namespace, name = cr["metadata"]["namespace"], cr["metadata"]["name"]
    try:
        typed = ModelPool.model_validate(cr)
    except ValidationError as error:
        raise _unreadable(namespace, name, error) from error
    return KnownPool(namespace, name, typed.spec, typed.status or PoolStatus())


async def counts(session: Session) -> Counts:
    """Of all gateways, each through the API server."""
    try:
        pods = await gateways(session)
        lines = await asyncio.gather(*(_demand(session, pod) for pod in pods))
    except (BerthError, Refused) as error:
        return Counts(None, f"requests are not known: {error}")
    return Counts(summed(lines))


async def gateways(session: Session) -> list[Object]:
    """The gateway's pods that are ready. Raises Refused where there is none."""
    pods = await session.api.list_all(kinds.POD, session.release, labels=GATEWAYS)
    found: list[Object] = [pod for pod in pods if is_ready(pod)]
    if not found:
        raise Refused(
            f"no gateway of Berth's is ready in namespace {session.release}; see --release"
        )
    return found


async def _demand(session: Session, pod: Object) -> Demand:
    name = pod["metadata"]["name"]
    told = await session.api.proxy_get(session.release, name, demand_calls.port(pod), _ONCE)
    try:
        return Demand.model_validate_json(told)
    except ValidationError as error:
        raise Refused(f"gateway {name} tells no demand: {error.error_count()} faults") from error


def summed(lines: Sequence[Demand]) -> dict[tuple[str, str], Asked]:
    found: dict[tuple[str, str], Asked] = {}
    for told in (model for line in lines for model in line.models):
        before = found.get((told.namespace, told.model), Asked())
        found[told.namespace, told.model] = Asked(
            before.in_flight + sum(told.in_flight.values()),
            before.held + told.held,
            max(before.oldest_held_seconds, told.oldest_held_seconds),
        )
    return found


def _known(cr: Object, counted: Counts) -> Known:
    """Raises InputError for an object of a version that cannot be read here."""
    namespace, name = cr["metadata"]["namespace"], cr["metadata"]["name"]
    try:
        typed = ModelDeployment.model_validate(cr)
    except ValidationError as error:
        raise _unreadable(namespace, name, error) from error
    return Known(namespace, name, typed.spec, typed.status or Status(), counted.of(namespace, name))


def _unreadable(namespace: str, name: str, error: ValidationError) -> InputError:
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return InputError(
        f"{namespace}/{name}: {where}: {first['msg']}; it is of another version of Berth: use that "
        "one's terminal"
    )


def pods_first(pods: Iterable[Object]) -> list[Object]:
    """The newest first."""
    return sorted(pods, key=lambda pod: pod["metadata"].get("creationTimestamp", ""), reverse=True)
