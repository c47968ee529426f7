"""Routes and keys from files, for a gateway without a cluster. Read once, at start."""

from pathlib import Path
from typing import Annotated, Any, Final

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from berth_api.spec import SERVED_NAME, RoutingPolicy
from berth_gateway.errors import ConfigurationError
from berth_gateway.routing.keyring import ApiKey
from berth_gateway.routing.snapshot import QUEUE, Endpoint, Model, Snapshot, build
from berth_gateway.world import keys

Name = Annotated[str, Field(pattern=SERVED_NAME, max_length=255)]
# Paths are the gateway's own business, so an endpoint is an origin (RFC 6454).
Origin = Annotated[
    str, Field(pattern=r"^https?://([A-Za-z0-9._-]+|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?/?$")
]


class Route(BaseModel):
    """One entry of the routes file."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, protected_namespaces=()
    )

    model: Name = Field(description="The name that the engines serve.")
    endpoints: list[Origin] = Field(description="For example http://127.0.0.1:8000.")
    aliases: list[Name] = Field(default_factory=list)
    adapters: list[Name] = Field(default_factory=list, description="LoRA adapters of the engines.")
    engine_key: str | None = Field(default=None, repr=False, description="Bearer for the engines.")
    max_in_flight: int | None = Field(default=None, ge=1, description="Per endpoint; more wait.")
    max_pending: int = Field(default=QUEUE.max_pending, ge=0, description="Requests held.")
    max_wait_seconds: int = Field(default=QUEUE.max_wait_seconds, ge=1, description="For those.")
    policy: RoutingPolicy = RoutingPolicy.LEAST_IN_FLIGHT


_ROUTES: Final = TypeAdapter(list[Route])
_EXAMPLE: Final = "- {model: my-model, endpoints: ['http://127.0.0.1:8000']}"


def read_routes(path: Path) -> Snapshot:
    """ConfigurationError names the file, the line, the value and what it should be."""
    text = _read(path, "routes")
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        routes = _ROUTES.validate_python(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise ConfigurationError(f"routes {path}: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        raise ConfigurationError(_first_problem(path, tree, error)) from error
    _check_unique(path, routes)
    return build(_model(route) for route in routes)


def read_keys(path: Path) -> list[ApiKey]:
    """One key a line: plaintext, or an entry with a hash and limits, as in a cluster's Secret.

    Empty lines and lines with # are left out. ConfigurationError names the line and what is wrong.
    """
    lines = enumerate((line.strip() for line in _read(path, "keys").splitlines()), start=1)
    found = [_key(path, *line) for line in lines if line[1] and not line[1].startswith("#")]
    if not found:
        raise ConfigurationError(f"keys {path}: no key in it; write one API key per line")
    return found


def _key(path: Path, line: int, text: str) -> ApiKey:
    name = f"key-{line}"
    if not text.startswith("{"):
        return keys.plain(name, text)
    try:
        return keys.entry(name, yaml.safe_load(text))
    except (ValueError, yaml.YAMLError) as error:
        raise ConfigurationError(f"keys {path}:{line}: {' '.join(str(error).split())}") from error


def _read(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{what} {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{what} {path}: not UTF-8 (byte {error.start})") from error


def _model(route: Route) -> Model:
    origins = [origin.rstrip("/") for origin in route.endpoints]
    return Model(
        key=route.model,
        name=route.model,
        aliases=tuple(route.aliases),
        adapters=tuple(route.adapters),
        loadable=tuple(route.adapters),
        engine_key=route.engine_key,
        endpoints=tuple(Endpoint(key=one, url=one, name=one) for one in dict.fromkeys(origins)),
        room=route.max_in_flight,
        max_pending=route.max_pending,
        max_wait_seconds=route.max_wait_seconds,
        policy=route.policy,
    )


def _check_unique(path: Path, routes: list[Route]) -> None:
    """In a cluster the oldest keeps a name; in one file a second claim is a slip of the pen."""
    seen: set[str] = set()
    for place, route in enumerate(routes):
        for name in {route.model, *route.aliases, *route.adapters}:
            if name in seen:
                raise ConfigurationError(
                    f"routes {path}: {place} has the name {name!r}, which an earlier entry has; "
                    "give each name once, and all endpoints of a model in one entry"
                )
            seen.add(name)


def _first_problem(path: Path, tree: yaml.Node | None, error: ValidationError) -> str:
    problem = error.errors()[0]
    line = _line(tree, problem["loc"])
    where = ".".join(str(part) for part in problem["loc"]) or "the file"
    value = str(problem["input"])[:80]
    return f"routes {path}:{line}: {where} is {value!r}: {problem['msg']}; write {_EXAMPLE}"


def _line(node: yaml.Node | None, location: tuple[Any, ...]) -> int:
    """The line, counted from 1, of the deepest part of `location` that the file holds."""
    line = 1
    for step in (*location, None):
        if node is None:
            return line
        line = node.start_mark.line + 1
        node = _child(node, step)
    return line


def _child(node: yaml.Node, step: Any) -> yaml.Node | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int):
        return node.value[step] if step < len(node.value) else None
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == step), None)
    return None
