"""The command line, as a typed value: that of `berth plan` here, the others' in `commands`."""

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from berth_api.quantity import parse_bytes
from berth_api.spec import MAX_GPUS
from berth_cli import commands
from berth_cli.commands import RELEASE_NAMESPACE, Command
from berth_operator.settings import COMPUTE

_GIB: Final = 2**30
# Smaller than any card that an engine runs on: a size without its unit.
LEAST_CARD_BYTES: Final = _GIB
# Larger than any card: a unit too many.
MOST_CARD_BYTES: Final = 4096 * _GIB
OUTPUTS: Final = ("text", "json", "yaml")
# Of Kubernetes: an optional domain, a slash, and a name.
_RESOURCE: Final = re.compile(r"([a-z0-9.-]+/)?[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?")
_SIZE_OF_A_SHOP: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([mgt])i?b?", re.IGNORECASE)

DESCRIPTION: Final = """\
What the operator would do with a ModelDeployment: the plan of its memory, what was not chosen and
why, and the objects that it would create. Needs no cluster and no GPU.
"""
EPILOG: Final = """\
accelerators, one of:
  --gpu 80Gi --gpus-per-node 8   a card by its maker's size
  --config FILE                  the profiles of an operator's configuration
  --cluster                      those of a cluster, with its nodes
  (none of them)                 the chart's own profiles, without any node

exit codes: 0 it fits, 1 it does not or is refused, 2 an input cannot be read

environment: HF_TOKEN and HF_ENDPOINT for hf:// sources, KUBECONFIG for --cluster, NO_COLOR
"""


@dataclass(frozen=True)
class Card:
    """A card that is declared on the command line."""

    memory: str  # a quantity, as its maker names it
    per_node: int
    engine_profile: str | None
    resource: str | None
    compute: str | None = None  # NVIDIA's compute capability


@dataclass(frozen=True)
class Cluster:
    kubeconfig: Path | None
    context: str | None
    namespace: str  # of the release


@dataclass(frozen=True)
class Options:
    file: Path
    output: str
    shape: Path | None
    card: Card | None
    config: Path | None
    cluster: Cluster | None


def parse(argv: Sequence[str]) -> Options | Command:
    """Ends the process with code 2 and a sentence where `argv` cannot be read."""
    parser = _parser()
    given, words = parser.parse_known_args(argv)
    commands.add_words(parser, given, words)
    return _plan(parser, given) if given.verb == "plan" else commands.typed(parser, given)


def _plan(parser: argparse.ArgumentParser, plan: argparse.Namespace) -> Options:
    _refuse_strays(parser, plan)
    return Options(
        file=plan.file,
        output=plan.output,
        shape=plan.shape,
        card=_card(plan),
        config=plan.config,
        cluster=_cluster(plan),
    )


def _parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="berth", description="Berth's terminal.")
    verbs = top.add_subparsers(dest="verb", required=True)
    _add_plan(verbs)
    commands.add(verbs)
    return top


def _add_plan(verbs: "commands.Verbs") -> None:
    plan = verbs.add_parser(
        "plan",
        help="what the operator would do with a model",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = plan.add_argument
    add("-f", "--file", type=Path, required=True, help="the ModelDeployment; - is standard input")
    add("-o", "--output", choices=OUTPUTS, default="text", help="json has status.plan's keys")
    add("--shape", type=Path, help="a model's folder, or a shape Job's answer as a .json file")
    add("--gpu", type=_card_memory, metavar="80Gi", help="memory of a card, as its maker names it")
    add("--gpus-per-node", type=_count, metavar="N", help="cards in one node (1)")
    add(
        "--resource", type=_resource, help="what a pod asks for, for example nvidia.com/mig-3g.40gb"
    )
    add("--compute", type=_compute, metavar="9.0", help="NVIDIA's compute capability of --gpu")
    add("--engine-profile", metavar="NAME", help="how the engine runs on --gpu (the first)")
    where = plan.add_mutually_exclusive_group()
    where.add_argument("--config", type=Path, help="an operator's configuration")
    where.add_argument("--cluster", action="store_true", help="read an operator's, and the nodes")
    add("--kubeconfig", type=Path, help="of the cluster (KUBECONFIG, or ~/.kube/config)")
    add("--context", help="of the kubeconfig (its current one)")
    add("--namespace", help=f"of Berth's release ({RELEASE_NAMESPACE})")


# Options that say nothing without another: option, what it needs.
_NEEDS: Final = (
    ("gpus_per_node", "gpu"),
    ("resource", "gpu"),
    ("compute", "gpu"),
    ("engine_profile", "gpu"),
    ("kubeconfig", "cluster"),
    ("context", "cluster"),
    ("namespace", "cluster"),
)


def _refuse_strays(parser: argparse.ArgumentParser, plan: argparse.Namespace) -> None:
    for option, needed in _NEEDS:
        given = getattr(plan, option)
        if given is not None and not getattr(plan, needed):
            flag = option.replace("_", "-")
            parser.error(f"argument --{flag}: {given} says nothing without --{needed}; add it")


def _card(plan: argparse.Namespace) -> Card | None:
    if plan.gpu is None:
        return None
    return Card(plan.gpu, plan.gpus_per_node or 1, plan.engine_profile, plan.resource, plan.compute)


def _cluster(plan: argparse.Namespace) -> Cluster | None:
    if not plan.cluster:
        return None
    return Cluster(plan.kubeconfig, plan.context, plan.namespace or RELEASE_NAMESPACE)


def _card_memory(text: str) -> str:
    try:
        count = parse_bytes(text)
    except ValueError as error:
        near = _near(text)
        said = f"{text!r} is not a quantity; write {near}" if near else str(error)
        raise argparse.ArgumentTypeError(said) from error
    if not LEAST_CARD_BYTES <= count <= MOST_CARD_BYTES:
        raise argparse.ArgumentTypeError(
            f"{text} is {count} bytes, and a card has 1Gi to 4096Gi; write for example 80Gi"
        )
    return text


def _near(text: str) -> str:
    """The two quantities that a size in GB or GiB may mean."""
    meant = _SIZE_OF_A_SHOP.fullmatch(text)
    if meant is None:
        return ""
    number, unit = meant.groups()
    first = unit[0].upper()
    return f"{number}{first} or {number}{first}i"


def _compute(text: str) -> str:
    if not re.fullmatch(COMPUTE, text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no compute capability; write for example 9.0"
        )
    return text


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_GPUS:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of 1 to {MAX_GPUS}; write for example 8"
        )
    return int(text)


def _resource(text: str) -> str:
    if not _RESOURCE.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no extended resource; write for example nvidia.com/gpu"
        )
    return text
