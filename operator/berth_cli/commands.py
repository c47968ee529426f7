"""The command lines of what `berth` does with a cluster's models, as typed values."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from berth_api.quantity import parse_duration

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 -- has no other name

# The chart's own; `helm install` in README.
RELEASE_NAMESPACE: Final = "berth-system"
TEXT: Final = "text"
WIDE: Final = "wide"
JSON: Final = "json"
YAML: Final = "yaml"

_LISTS: Final = frozenset({"ps", "pools"})  # of a namespace, or of all

EXIT_CODES: Final = """\
exit codes: 0 done, or the answer is yes; 1 refused, or the answer is no; 2 an input cannot be
read, or nobody answers; 130 ended by Ctrl-C

environment: KUBECONFIG, NO_COLOR"""


@dataclass(frozen=True)
class Site:
    """A cluster, and where in it. None is what kubectl would take."""

    kubeconfig: Path | None
    context: str | None
    namespace: str | None  # of the models
    release: str  # Berth's own namespace


@dataclass(frozen=True)
class Way:
    """To the gateway. None: through the API server, with the first key of the release."""

    url: str | None
    key: str | None


@dataclass(frozen=True)
class Ps:
    site: Site
    everywhere: bool
    output: str


@dataclass(frozen=True)
class Pools:
    site: Site
    everywhere: bool
    output: str


@dataclass(frozen=True)
class Why:
    site: Site
    model: str
    output: str


@dataclass(frozen=True)
class Run:
    site: Site
    model: str
    prompt: str | None
    way: Way
    verbose: bool


@dataclass(frozen=True)
class Load:
    site: Site
    model: str
    keep_alive: str | None
    way: Way
    output: str


@dataclass(frozen=True)
class Unload:
    site: Site
    model: str
    output: str


@dataclass(frozen=True)
class Logs:
    site: Site
    model: str
    follow: bool
    previous: bool
    pod: str | None


@dataclass(frozen=True)
class Create:
    site: Site
    name: str
    file: Path
    dry_run: bool
    output: str | None


Command = Ps | Pools | Why | Run | Load | Unload | Logs | Create


def add(verbs: "Verbs") -> None:
    for name, verb in _VERBS.items():
        parser = verbs.add_parser(
            name,
            help=verb.help,
            description=verb.description,
            epilog=EXIT_CODES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        verb.add(parser.add_argument)
        _add_site(parser.add_argument)


def typed(parser: argparse.ArgumentParser, given: argparse.Namespace) -> Command:
    """Ends the process with code 2 where two options contradict each other."""
    if given.verb in _LISTS and given.everywhere and given.namespace is not None:
        parser.error(f"argument --namespace: {given.namespace} says nothing with -A; remove one")
    return _VERBS[given.verb].typed(given)


def add_words(
    parser: argparse.ArgumentParser, given: argparse.Namespace, words: Sequence[str]
) -> None:
    """Words of a prompt may stand behind options, where argparse does not look for them."""
    strange = given.verb != "run" or any(word.startswith("-") for word in words)
    if words and strange:
        parser.error(f"unrecognized arguments: {' '.join(words)}; see berth {given.verb} --help")
    if given.verb == "run":
        given.prompt = [*given.prompt, *words]


def _site(given: argparse.Namespace) -> Site:
    return Site(given.kubeconfig, given.context, given.namespace, given.release)


def _way(given: argparse.Namespace) -> Way:
    return Way(given.url, given.key)


Add = Callable[..., Any]


@dataclass(frozen=True)
class _Verb:
    help: str
    description: str
    add: Callable[[Add], None]
    typed: Callable[[argparse.Namespace], Command]


def _add_site(add: Add) -> None:
    add("-n", "--namespace", help="of the model (the kubeconfig's)")
    add("--kubeconfig", type=Path, help="of the cluster (KUBECONFIG, or ~/.kube/config)")
    add("--context", help="of the kubeconfig (its current one)")
    add(
        "--release",
        metavar="NAMESPACE",
        default=RELEASE_NAMESPACE,
        help=f"Berth's own namespace ({RELEASE_NAMESPACE})",
    )


def _add_way(add: Add) -> None:
    add("--url", type=_url, help="of the gateway, for example http://berth.berth-system.svc/v1")
    add("--key", help="an API key (BERTH_API_KEY; without --url the release's first one)")


def _add_model(add: Add) -> None:
    add("model", metavar="MODEL", help="metadata.name")


def _add_output(add: Add, *others: str) -> None:
    choices = (TEXT, *others, JSON)
    add("-o", "--output", choices=choices, default=TEXT, help="the keys of json stay as they are")


def _add_ps(add: Add) -> None:
    add("-A", "--all-namespaces", dest="everywhere", action="store_true")
    _add_output(add, WIDE)


def _add_pools(add: Add) -> None:
    add("-A", "--all-namespaces", dest="everywhere", action="store_true")
    _add_output(add)


def _add_shown_model(add: Add) -> None:
    _add_model(add)
    _add_output(add)


def _add_run(add: Add) -> None:
    add("model", metavar="MODEL", help="metadata.name; with --url any name that it answers to")
    add("prompt", metavar="PROMPT", nargs="*", help="without one, a chat; standard input is added")
    add("--verbose", action="store_true", help="tokens and their rate at an answer's end")
    _add_way(add)


def _add_load(add: Add) -> None:
    _add_shown_model(add)
    add("--keep-alive", type=_duration, metavar="30m", help="sets spec.keepAlive, for good")
    _add_way(add)


def _add_logs(add: Add) -> None:
    _add_model(add)
    add("-f", "--follow", action="store_true", help="go on as it is written")
    add("-p", "--previous", action="store_true", help="of the engine before its last restart")
    add("--pod", help="one of the model's pods, or its pool's (the newest; of a pool, where it is)")


def _add_create(add: Add) -> None:
    add("name", metavar="NAME", help="a name of Ollama's kind is kept for clients")
    add("-f", "--file", type=Path, default=Path("Modelfile"), help="(Modelfile); - is stdin")
    add("--dry-run", action="store_true", help="print the ModelDeployment, and apply nothing")
    add("-o", "--output", choices=(YAML, JSON), help="of the ModelDeployment, which is printed")


def _duration(text: str) -> str:
    try:
        parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _url(text: str) -> str:
    """An address as clients have it, with /v1 or without."""
    if not text.startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no address of a gateway; write for example http://127.0.0.1:8080/v1"
        )
    return text.rstrip("/").removesuffix("/v1")


_VERBS: Final[Mapping[str, _Verb]] = {
    "ps": _Verb(
        "what runs, where, with how much memory and until when",
        "Every model: what it runs on, planned and measured memory of a GPU, how long it stays.",
        _add_ps,
        lambda given: Ps(_site(given), given.everywhere, given.output),
    ),
    "pools": _Verb(
        "the pools, and what their cards hold",
        "Every pool: its pods and cards, what is granted of them, who is loaded and who waits.",
        _add_pools,
        lambda given: Pools(_site(given), given.everywhere, given.output),
    ),
    "why": _Verb(
        "what a model waits for",
        "What a model waits for, in the order in which things must come true, and the fix.",
        _add_shown_model,
        lambda given: Why(_site(given), given.model, given.output),
    ),
    "run": _Verb(
        "ask a model, or chat with it",
        "One answer, or a chat. /bye ends it, Ctrl-C ends an answer.",
        _add_run,
        lambda given: Run(
            _site(given),
            given.model,
            " ".join(given.prompt) or None,
            _way(given),
            verbose=given.verbose,
        ),
    ),
    "load": _Verb(
        "have a model running before anybody asks",
        "Fixed: spec.replicas of 1 at least. Auto: a request that wakes it. In a pool: loaded, and "
        "kept until it is unloaded.",
        _add_load,
        lambda given: Load(_site(given), given.model, given.keep_alive, _way(given), given.output),
    ),
    "unload": _Verb(
        "give a model's accelerators back",
        "Fixed: spec.replicas of 0. Auto models leave by themselves, after spec.keepAlive. In a "
        "pool: gone once its requests are answered.",
        _add_shown_model,
        lambda given: Unload(_site(given), given.model, given.output),
    ),
    "logs": _Verb(
        "the engine's log",
        "The log of one pod's engine.",
        _add_logs,
        lambda given: Logs(_site(given), given.model, given.follow, given.previous, given.pod),
    ),
    "create": _Verb(
        "a ModelDeployment from a Modelfile",
        "A Modelfile of Ollama's, said as a ModelDeployment and applied. docs/modelfile.md",
        _add_create,
        lambda given: Create(_site(given), given.name, given.file, given.dry_run, given.output),
    ),
}
