"""What a model adds to requests that do not say it themselves: `spec.defaults`.

Models that share an engine differ by this alone. The body is built anew, which no other model's is:
what the client wrote has the same values after it, not the same bytes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from berth_api.spec import Defaults
from berth_gateway.routing import jsontext

_SYSTEM_ROLES: Final = frozenset({"system", "developer"})


@dataclass(frozen=True, slots=True)
class _Api:
    """How one API spells what a model may add."""

    system: str | None = None  # field of the system prompt, beside the messages
    messages: bool = False  # whether the system prompt and first messages are among `messages`
    tokens: str | None = "max_tokens"


_APIS: Final = {
    b"/v1/chat/completions": _Api(messages=True),
    b"/v1/completions": _Api(),
    b"/v1/responses": _Api(system="instructions", tokens="max_output_tokens"),
    # Its max_tokens is required, so that there is nothing to add.
    b"/v1/messages": _Api(system="system", tokens=None),
}


@dataclass(frozen=True, slots=True)
class Presets:
    """As JSON values. `parameters` by their names in OpenAI's and vLLM's API."""

    system: str | None = None
    messages: tuple[Mapping[str, str], ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def into(self, path: bytes, body: bytes) -> bytes:
        """`body` is a JSON object that has been checked; `path` is the engine's."""
        api = _APIS.get(path)
        if api is None:
            return body
        asked = jsontext.read(body).fields
        return json.dumps(self._added(api, asked), ensure_ascii=False).encode()

    def _added(self, api: _Api, asked: Mapping[str, Any]) -> dict[str, Any]:
        found = {**self._named(api), **asked}
        if api.messages and isinstance(asked.get("messages"), list):
            found["messages"] = self._conversation(asked["messages"])
        elif api.system is not None and self.system is not None:
            found.setdefault(api.system, self.system)
        return found

    def _named(self, api: _Api) -> dict[str, Any]:
        named = {**self.parameters}
        tokens = named.pop("max_tokens", None)
        if tokens is not None and api.tokens is not None:
            named[api.tokens] = tokens
        return named

    def _conversation(self, asked: list[Any]) -> list[Any]:
        """The client's system messages stay the first, and take the place of the model's."""
        first = next((at for at, one in enumerate(asked) if not _is_system(one)), len(asked))
        system = [] if first or self.system is None else [_system(self.system)]
        return [*system, *asked[:first], *self.messages, *asked[first:]]


def of(defaults: Defaults | None) -> Presets | None:
    """None where nothing is to be added."""
    if defaults is None:
        return None
    given = defaults.parameters.model_dump(exclude_none=True, exclude_defaults=True)
    parameters = {name: _number(value) for name, value in given.items()}
    messages = tuple({"role": one.role, "content": one.content} for one in defaults.messages)
    found = Presets(defaults.system, messages, parameters)
    return None if found == Presets() else found


def _number(value: Any) -> Any:
    """Decimals are texts in the API of Kubernetes, and numbers in that of an engine."""
    return float(value) if isinstance(value, str) else value


def _is_system(message: Any) -> bool:
    return isinstance(message, dict) and message.get("role") in _SYSTEM_ROLES


def _system(text: str) -> dict[str, str]:
    return {"role": "system", "content": text}
