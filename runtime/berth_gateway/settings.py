"""The gateway's configuration: flags, and the environment for what the chart sets.

The command line and the environment are read here and nowhere else; the rest of the gateway gets
a frozen value.
"""

import argparse
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Final, NoReturn

from berth_api import names
from berth_gateway.errors import ConfigurationError

MAX_PORT: Final = 65535
DEFAULT_BODY_BYTES: Final = 8 * 2**20  # a million tokens of text are about 4 MiB
DEFAULT_CHOICES: Final = 128  # what OpenAI itself allows for `n`
# The longest answer of OpenAI's models; an engine stops at its context's end anyway.
DEFAULT_OUTPUT_TOKENS: Final = 131_072
DEFAULT_LOGPROBS: Final = 20  # OpenAI's and vLLM's own limit; each is sorted out of the vocabulary
DEFAULT_MEDIA_PARTS: Final = 100  # what Anthropic allows in a request
# Twice a schema of ten levels, OpenAI's limit, within the tool that it belongs to.
DEFAULT_JSON_DEPTH: Final = 64
DEFAULT_HEADER_BYTES: Final = 16 * 2**10  # Node's; a key, a trace and cookies take less than half
DEFAULT_HEADER_SECONDS: Final = 10  # a request line and headers are one packet or two
DEFAULT_BODY_SECONDS: Final = 60  # DEFAULT_BODY_BYTES over a link of 1 Mbit/s
# In which a client takes nothing of its answer, once 64 KiB wait for it; nginx's send_timeout.
DEFAULT_STALL_SECONDS: Final = 60
# Far above the longest pause of an engine that makes room for other requests.
DEFAULT_IDLE_SECONDS: Final = 600
DEFAULT_SETTLE_SECONDS: Final = 5  # for kube-proxy and load balancers to hear that we leave
# A held request keeps 16 KB besides its body: a connection, a task, its headers.
DEFAULT_HELD_REQUESTS: Final = 4096
DEFAULT_HELD_BYTES: Final = 128 * 2**20  # of bodies, in a container of 512 MiB
# An idle connection keeps 10 KB, one with a held request 16: 128 MiB at most.
DEFAULT_CONNECTIONS: Final = 8192
DEFAULT_IDLE_CONNECTIONS: Final = 4096  # of those; the longest idle gives way to a new one
DEFAULT_DRAIN_SECONDS: Final = 300  # as spec.rollout.drainTimeoutSeconds


# Why a field of a request is refused unless an administrator allows it. vLLM has had a hole by
# every one of them.
CLOSED_FIELDS: Final = {
    "chat_template": "a template is a program that the engine would run",
    # Those pass: "enable_thinking": false is what clients of several models send.
    "chat_template_kwargs": "it may hold flags, numbers and short texts, and none of the engine's",
    "mm_processor_kwargs": "it can make the engine blow up an image to any size",
    "media_io_kwargs": "it can make the engine read a video without end",
    "prompt_embeds": "it is a file that the engine would unpickle",
}


_ORIGIN: Final = r"(http://[A-Za-z0-9.-]+:[0-9]{1,5})?"  # or empty


class AuthMode(str, Enum):
    KEYS = "Keys"
    NONE = "None"


class Managers(str, Enum):
    """Who may create, pull, copy and delete models."""

    KEYS = "Keys"  # those that say "manage": true
    ANYONE = "Anyone"  # whoever may ask this gateway anything


class MediaUrls(str, Enum):
    DATA_ONLY = "DataOnly"  # an engine that fetches what a client names can be sent anywhere
    ANY = "Any"  # whatever the engine itself allows


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may ask of the gateway."""

    body_bytes: int = DEFAULT_BODY_BYTES
    choices: int = DEFAULT_CHOICES  # `n` and `best_of`
    output_tokens: int = DEFAULT_OUTPUT_TOKENS  # `max_tokens` and its other names
    logprobs: int = DEFAULT_LOGPROBS  # per token
    allowed_fields: frozenset[str] = frozenset()  # of CLOSED_FIELDS
    media_urls: MediaUrls = MediaUrls.DATA_ONLY
    media_parts: int = DEFAULT_MEDIA_PARTS
    json_depth: int = DEFAULT_JSON_DEPTH
    header_bytes: int = DEFAULT_HEADER_BYTES
    header_seconds: int = DEFAULT_HEADER_SECONDS
    body_seconds: int = DEFAULT_BODY_SECONDS
    stall_seconds: int = DEFAULT_STALL_SECONDS


@dataclass(frozen=True, slots=True)
class Settings:
    routes: Path | None  # None: routes come from the cluster
    keys: Path | None  # of a static world; a cluster's are in its Secret
    namespace: str  # the release's, where the Secrets are
    watch_namespaces: tuple[str, ...] = ()  # empty: all
    kubeconfig: Path | None = None  # None: the pod's service account
    api_server: str = ""  # host:port, as every pod is told it; empty: outside of a cluster
    port: int = names.PORT_GATEWAY
    management_port: int = names.PORT_GATEWAY_MANAGEMENT
    auth: AuthMode = AuthMode.KEYS
    idle_seconds: int = DEFAULT_IDLE_SECONDS  # between two pieces of an answer
    settle_seconds: int = DEFAULT_SETTLE_SECONDS
    drain_seconds: int = DEFAULT_DRAIN_SECONDS
    held_requests: int = DEFAULT_HELD_REQUESTS  # of all models together
    held_bytes: int = DEFAULT_HELD_BYTES
    connections: int = DEFAULT_CONNECTIONS  # of clients
    idle_connections: int = DEFAULT_IDLE_CONNECTIONS
    gateways: int = 1  # that share the limits of API keys
    models_api: str = ""  # the operator's, http://host:port; empty: models are not managed here
    managers: Managers = Managers.KEYS
    limits: Limits = field(default_factory=Limits)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigurationError(f"arguments: {message}; see --help")


def load(arguments: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Settings of this process; ConfigurationError names the flag or variable and its value."""
    given = _parser(environ).parse_args(arguments)
    if given.routes is not None and given.cluster:
        raise ConfigurationError("arguments: --routes and --cluster exclude each other; keep one")
    if given.routes is not None and given.keys is None and given.auth is AuthMode.KEYS:
        raise ConfigurationError(
            "arguments: --routes needs --keys FILE with one API key per line, or --auth None"
        )
    if given.routes is None and not given.namespace:
        raise ConfigurationError(
            "BERTH_NAMESPACE is empty; set it to the release's namespace, or give --routes FILE"
        )
    return Settings(
        routes=given.routes,
        keys=given.keys,
        namespace=given.namespace,
        watch_namespaces=given.watch_namespaces,
        kubeconfig=given.kubeconfig,
        api_server=_api_server(environ),
        port=given.port,
        management_port=given.management_port,
        auth=given.auth,
        idle_seconds=given.idle_seconds,
        settle_seconds=given.settle_seconds,
        drain_seconds=given.drain_seconds,
        held_requests=given.max_held_requests,
        held_bytes=given.max_held_bytes,
        connections=given.max_connections,
        idle_connections=given.max_idle_connections,
        gateways=max(given.gateway_replicas, 1),
        models_api=given.models_api,
        managers=given.managers,
        limits=Limits(
            body_bytes=given.max_body_bytes,
            choices=given.max_choices,
            output_tokens=given.max_output_tokens,
            logprobs=given.max_logprobs,
            allowed_fields=given.allowed_fields,
            media_urls=given.media_urls,
            media_parts=given.max_media_parts,
            json_depth=given.max_json_depth,
            header_bytes=given.max_header_bytes,
            header_seconds=given.header_seconds,
            body_seconds=given.body_seconds,
            stall_seconds=given.stall_seconds,
        ),
    )


# Flags that take a whole number. A variable has its flag's name: BERTH_MAX_BODY_BYTES.
_COUNTS: Final = (
    ("max-body-bytes", DEFAULT_BODY_BYTES, "more is 413"),
    ("max-header-bytes", DEFAULT_HEADER_BYTES, "more is 400"),
    ("max-json-depth", DEFAULT_JSON_DEPTH, "of a body"),
    ("max-choices", DEFAULT_CHOICES, "for n and best_of"),
    ("max-output-tokens", DEFAULT_OUTPUT_TOKENS, "for max_tokens and its other names"),
    ("max-logprobs", DEFAULT_LOGPROBS, "for each token"),
    ("max-media-parts", DEFAULT_MEDIA_PARTS, "images, sounds and videos in a request"),
    ("max-connections", DEFAULT_CONNECTIONS, "of clients"),
    ("max-idle-connections", DEFAULT_IDLE_CONNECTIONS, "of those"),
    ("max-held-requests", DEFAULT_HELD_REQUESTS, "in all"),
    ("max-held-bytes", DEFAULT_HELD_BYTES, "of their bodies"),
    ("header-seconds", DEFAULT_HEADER_SECONDS, "to arrive in"),
    ("body-seconds", DEFAULT_BODY_SECONDS, "to arrive in"),
    ("stall-seconds", DEFAULT_STALL_SECONDS, "to read on in"),
    ("idle-seconds", DEFAULT_IDLE_SECONDS, "inside an answer"),
    ("settle-seconds", DEFAULT_SETTLE_SECONDS, "of SIGTERM"),
    ("drain-seconds", DEFAULT_DRAIN_SECONDS, "for streams"),
    ("gateway-replicas", 1, "that share keys' limits"),
)


def _parser(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    """A flag wins over its variable; an empty variable is as good as none."""
    parser = _Parser(prog="berth_gateway", description=__doc__, allow_abbrev=False)
    parser.add_argument("--cluster", action="store_true", help="routes from ModelDeployments")

    def add(flag: str, variable: str | None, parse: Any, default: Any, words: str) -> None:
        value = (environ.get(variable) if variable else None) or default
        shown = f"{words} [{variable}]" if variable else words
        parser.add_argument(f"--{flag}", type=parse, default=value, help=shown)

    # No variables for the ports: Kubernetes itself sets BERTH_PORT where a Service is called berth.
    others: tuple[tuple[str, str | None, Callable[[str], Any], Any, str], ...] = (
        ("routes", "BERTH_ROUTES", Path, None, "YAML file of routes, instead of a cluster"),
        ("keys", "BERTH_KEYS", Path, None, "file with one API key per line"),
        ("namespace", "BERTH_NAMESPACE", str, "", "the release's namespace"),
        ("watch-namespaces", "BERTH_WATCH_NAMESPACES", _names, (), "comma-separated; empty: all"),
        ("kubeconfig", "BERTH_KUBECONFIG", Path, None, "to run outside the cluster"),
        ("port", None, _port, names.PORT_GATEWAY, "for clients"),
        ("management-port", None, _port, names.PORT_GATEWAY_MANAGEMENT, "for probes and metrics"),
        ("auth", "BERTH_AUTH_MODE", _auth, AuthMode.KEYS, "Keys or None"),
        ("models-api", "BERTH_MODELS_API", _origin, "", "the operator's; empty: none"),
        ("managers", "BERTH_MANAGERS", _managers, Managers.KEYS, "Keys or Anyone"),
        ("media-urls", "BERTH_MEDIA_URLS", _media, MediaUrls.DATA_ONLY, "DataOnly or Any"),
        ("allowed-fields", "BERTH_ALLOWED_FIELDS", _fields, frozenset(), "that are else refused"),
    )
    for one in others:
        add(*one)
    for flag, default, words in _COUNTS:
        add(flag, f"BERTH_{flag.upper().replace('-', '_')}", _count, default, words)
    return parser


def _api_server(environ: Mapping[str, str]) -> str:
    """host:port of the cluster that this pod runs in; empty: in none."""
    host, port = (environ.get(f"KUBERNETES_SERVICE_{name}", "") for name in ("HOST", "PORT"))
    if not (host and port):
        return ""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _fields(text: str) -> frozenset[str]:
    return frozenset(_one_of(name, CLOSED_FIELDS) for name in _names(text))


def _auth(text: str) -> AuthMode:
    return AuthMode(_choice(text, AuthMode))


def _media(text: str) -> MediaUrls:
    return MediaUrls(_choice(text, MediaUrls))


def _managers(text: str) -> Managers:
    return Managers(_choice(text, Managers))


def _origin(text: str) -> str:
    if not re.fullmatch(_ORIGIN, text):
        raise argparse.ArgumentTypeError(f"{text!r} is not http://host:port")
    return text


def _choice(text: str, choices: type[Enum]) -> str:
    return _one_of(text, [choice.value for choice in choices])


def _one_of(text: str, values: Collection[str]) -> str:
    if text not in values:
        raise argparse.ArgumentTypeError(f"{text!r} is not {' or '.join(values)}")
    return text


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
    return int(text)


def _port(text: str) -> int:
    port = _count(text)
    if port > MAX_PORT:
        raise argparse.ArgumentTypeError(f"{port} is not a port; the highest is {MAX_PORT}")
    return port
