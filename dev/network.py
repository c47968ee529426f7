"""The pods' network: one bridge with a fixed address, and the removal of every rule we caused.

The node's own address is the bridge's, so the cluster does not care what the machine's network is,
survives a change of it, and listens on no interface that the outside can reach.
"""

import ipaddress
from collections.abc import Iterable

from dev import progress
from dev.controlplane import POD_CIDR, SERVICE_CIDR
from dev.errors import DevError

BRIDGE = "berth0"
NODE_IP = str(ipaddress.ip_network(POD_CIDR)[1])
NODE_POD_CIDR = "10.244.0.0/24"  # the first that the controller manager hands out

_COMMENT = "berth-dev"
_FAMILIES = ("iptables", "ip6tables")
# What leaves the machine takes the machine's address; between pods, sources stay visible.
_MASQUERADE = (
    *("POSTROUTING", "-s", POD_CIDR, "!", "-d", POD_CIDR),
    *("-m", "comment", "--comment", _COMMENT, "-j", "MASQUERADE"),
)


def create() -> None:
    if not _bridge_exists():
        progress.run(["ip", "link", "add", BRIDGE, "type", "bridge"])
        progress.run(["ip", "address", "add", f"{NODE_IP}/24", "dev", BRIDGE])
        progress.run(["ip", "link", "set", BRIDGE, "up"])
        # Services are reachable from the host even where it has no default route.
        progress.run(["ip", "route", "add", SERVICE_CIDR, "dev", BRIDGE, "src", NODE_IP])
    if not progress.succeeds(["iptables", "-t", "nat", "-C", *_MASQUERADE]):
        progress.run(["iptables", "-t", "nat", "-A", *_MASQUERADE])


def remove() -> None:
    """Remove the bridge with its routes and every rule and chain that came from the cluster."""
    if not _bridge_exists():
        return
    for family in _FAMILIES:
        for table, commands in removal(progress.run([f"{family}-save"])).items():
            script = "\n".join([f"*{table}", *commands, "COMMIT", ""])
            progress.run([f"{family}-restore", "--noflush"], stdin=script)
    progress.run(["ip", "link", "delete", BRIDGE])


def refuse_foreign_cluster() -> None:
    """Our rules could not be told from those of another Kubernetes, so there must be none."""
    if _bridge_exists():
        return
    for family in _FAMILIES:
        if any(removal(progress.run([f"{family}-save"])).values()):
            raise DevError(f"{family} has KUBE-* chains that this cluster did not make: refusing")
    for cidr in (POD_CIDR, SERVICE_CIDR):
        if progress.run(["ip", "route", "show", "root", cidr]).strip():
            raise DevError(f"{cidr} is already routed on this machine: refusing")


def removal(saved: str) -> dict[str, list[str]]:
    """From `iptables-save`, per table, the commands that undo the cluster's rules and no others.

    Rules in our chains go by flushing the chain; rules elsewhere only if they name us or jump to
    our chains. Chains are deleted last, when nothing refers to them any more.
    """
    commands: dict[str, list[str]] = {}
    for table, lines in _tables(saved.splitlines()):
        chains = [line[1:].split()[0] for line in lines if line.startswith(":KUBE-")]
        rules = [line for line in lines if line.startswith("-A ") and _ours(line)]
        commands[table] = [
            *(f"-D{rule[2:]}" for rule in rules),
            *(f"-F {chain}" for chain in chains),
            *(f"-X {chain}" for chain in chains),
        ]
    return {table: found for table, found in commands.items() if found}


def _ours(rule: str) -> bool:
    chain = rule.split()[1]
    if chain.startswith("KUBE-"):
        return False
    return "-j KUBE-" in rule or f"--comment {_COMMENT} " in rule


def _tables(lines: Iterable[str]) -> Iterable[tuple[str, list[str]]]:
    table = ""
    content: list[str] = []
    for line in lines:
        if line.startswith("*"):
            table, content = line[1:], []
        elif line == "COMMIT":
            yield table, content
        else:
            content.append(line)


def _bridge_exists() -> bool:
    return progress.succeeds(["ip", "link", "show", BRIDGE])
