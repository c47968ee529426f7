"""The gateway's configuration: flags, and the environment for what the chart sets.

The command line and the environment are read here and nowhere else; the rest of the gateway gets
a frozen value.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final, NoReturn

from berth_api import names
from berth_gateway.errors import ConfigurationError

MAX_PORT: Final = 65535
DEFAULT_BODY_BYTES: Final = 8 * 2**20  # a million tokens of text are about 4 MiB
DEFAULT_CHOICES: Final = 128  # what OpenAI itself allows for `n`
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
DEFAULT_DRAIN_SECONDS: Final = 300  # as spec.rollout.drainTimeoutSeconds


class AuthMode(str, Enum):
    KEYS = "Keys"
    NONE = "None"


class MediaUrls(str, Enum):
    DATA_ONLY = "DataOnly"  # an engine that fetches what a client names can be sent anywhere
    ANY = "Any"  # whatever the engine itself allows


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may ask of the gateway."""

    body_bytes: int = DEFAULT_BODY_BYTES
    choices: int = DEFAULT_CHOICES  # `n` and `best_of`
    media_urls: MediaUrls = MediaUrls.DATA_ONLY
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
    gateways: int = 1  # that share the limits of API keys
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
        gateways=max(given.gateway_replicas, 1),
        limits=Limits(
            body_bytes=given.max_body_bytes,
            choices=given.max_choices,
            media_urls=given.media_urls,
            header_seconds=given.header_seconds,
            body_seconds=given.body_seconds,
            stall_seconds=given.stall_seconds,
        ),
    )


def _parser(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    """A flag wins over its variable; an empty variable is as good as none."""
    parser = _Parser(prog="berth_gateway", description=__doc__, allow_abbrev=False)
    parser.add_argument("--cluster", action="store_true", help="routes from ModelDeployments")
    # No variables for the ports: Kubernetes itself sets BERTH_PORT where a Service is called berth.
    for flag, variable, parse, default, words in (
        ("routes", "BERTH_ROUTES", Path, None, "YAML file of routes, instead of a cluster"),
        ("keys", "BERTH_KEYS", Path, None, "file with one API key per line"),
        ("namespace", "BERTH_NAMESPACE", str, "", "the release's namespace"),
        ("watch-namespaces", "BERTH_WATCH_NAMESPACES", _names, (), "comma-separated; empty: all"),
        ("kubeconfig", "BERTH_KUBECONFIG", Path, None, "to run outside the cluster"),
        ("port", None, _port, names.PORT_GATEWAY, "for clients"),
        ("management-port", None, _port, names.PORT_GATEWAY_MANAGEMENT, "for probes and metrics"),
        ("auth", "BERTH_AUTH_MODE", _auth, AuthMode.KEYS, "Keys or None"),
        ("media-urls", "BERTH_MEDIA_URLS", _media, MediaUrls.DATA_ONLY, "DataOnly or Any"),
        ("max-body-bytes", "BERTH_MAX_BODY_BYTES", _count, DEFAULT_BODY_BYTES, "more is 413"),
        ("max-choices", "BERTH_MAX_CHOICES", _count, DEFAULT_CHOICES, "for n and best_of"),
        ("header-seconds", "BERTH_HEADER_SECONDS", _count, DEFAULT_HEADER_SECONDS, "to arrive in"),
        ("body-seconds", "BERTH_BODY_SECONDS", _count, DEFAULT_BODY_SECONDS, "to arrive in"),
        ("stall-seconds", "BERTH_STALL_SECONDS", _count, DEFAULT_STALL_SECONDS, "to read on in"),
        ("idle-seconds", "BERTH_IDLE_SECONDS", _count, DEFAULT_IDLE_SECONDS, "inside an answer"),
        ("settle-seconds", "BERTH_SETTLE_SECONDS", _count, DEFAULT_SETTLE_SECONDS, "of SIGTERM"),
        ("max-held-requests", "BERTH_MAX_HELD_REQUESTS", _count, DEFAULT_HELD_REQUESTS, "in all"),
        ("max-held-bytes", "BERTH_MAX_HELD_BYTES", _count, DEFAULT_HELD_BYTES, "of their bodies"),
        ("gateway-replicas", "BERTH_GATEWAY_REPLICAS", _count, 1, "that share keys' limits"),
        ("drain-seconds", "BERTH_DRAIN_SECONDS", _count, DEFAULT_DRAIN_SECONDS, "for streams"),
    ):
        value = (environ.get(variable) if variable else None) or default
        shown = f"{words} [{variable}]" if variable else words
        parser.add_argument(f"--{flag}", type=parse, default=value, help=shown)
    return parser


def _api_server(environ: Mapping[str, str]) -> str:
    """host:port of the cluster that this pod runs in; empty: in none."""
    host, port = (environ.get(f"KUBERNETES_SERVICE_{name}", "") for name in ("HOST", "PORT"))
    if not (host and port):
        return ""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _auth(text: str) -> AuthMode:
    return AuthMode(_choice(text, AuthMode))


def _media(text: str) -> MediaUrls:
    return MediaUrls(_choice(text, MediaUrls))


def _choice(text: str, choices: type[Enum]) -> str:
    values = [choice.value for choice in choices]
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
