"""How many replicas the nodes could hold that are there now: asking for more only makes pods wait.

The law asks for one even where there is no room, or nothing would ever show that it is wanted. An
upper bound: pods that are none of Berth's are not seen, nor is how a node's cards are joined.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from berth_api.quantity import parse
from berth_operator.core.kubernetes import is_finished, requests
from berth_operator.core.node_health import takes_pods
from berth_operator.core.observed import Node, Object, Observed
from berth_operator.core.revision import Revision
from berth_operator.settings import Settings


def replicas(observed: Observed, revision: Revision, settings: Settings) -> int | None:
    """Of this revision, its own pods' places included. None: not known, or an autoscaler's say."""
    spec = revision.template["spec"]
    nodes = [one for one in observed.nodes if _may_run_on(one, spec)]
    if not nodes or can_grow(revision, settings):
        return None
    own = [one.object for one in observed.engines if not is_finished(one.object)]
    need = requests(spec)
    return sum(_on(node, need, own) for node in nodes)


def can_grow(revision: Revision, settings: Settings) -> bool:
    """Whether the profile declares its cards, so that a pool at zero nodes is planned for."""
    named = (one for one in settings.accelerator_profiles if one.name == revision.plan.accelerator)
    profile = next(named, None)
    return profile is None or None not in (
        profile.resource,
        profile.memory,
        profile.gpus_per_node,
    )


def _may_run_on(node: Node, spec: Mapping[str, Any]) -> bool:
    wanted = spec.get("nodeSelector") or {}
    return takes_pods(node) and wanted.items() <= node.labels.items()


def _on(node: Node, need: Mapping[str, Decimal], own: Iterable[Object]) -> int:
    """Replicas that the node holds beside other models' pods."""
    mine = [requests(pod["spec"]) for pod in own if pod["spec"].get("nodeName") == node.name]
    fits = [
        (_allocatable(node, name) - _others(node, name, mine)) // amount
        for name, amount in need.items()
        if amount
    ]
    return max(0, int(min(fits, default=Decimal(0))))


def _others(node: Node, name: str, mine: Iterable[Mapping[str, Decimal]]) -> Decimal:
    own = sum((one.get(name, Decimal(0)) for one in mine), Decimal(0))
    return node.reserved.get(name, Decimal(0)) - own


def _allocatable(node: Node, name: str) -> Decimal:
    return parse(node.allocatable.get(name, "0"))
