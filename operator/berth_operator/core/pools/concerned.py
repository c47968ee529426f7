"""Whose status is to be told anew when a pool's is.

A pool of many models tells of a load twice a second, and it is news to those of that engine alone.
"""

from collections.abc import Mapping
from typing import Any

from berth_operator.core.pools.observed import PoolObserved


def models(observed: PoolObserved, told: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Names of those that have a plan of an engine of which `told` differs from what was told."""
    before, now = _engines(observed.cr.get("status")), _engines(told)
    changed = {id_ for id_ in before.keys() | now.keys() if before.get(id_) != now.get(id_)}
    return tuple(
        member.name
        for member in observed.members
        if any(one.id in changed for one in member.revisions)
    )


def _engines(status: Mapping[str, Any] | None) -> dict[str, Any]:
    return {one["id"]: one for one in (status or {}).get("engines") or ()}
