"""API keys as people write them: a SHA-256 alone, or with what the key's holder may do.

An entry that cannot be read admits nobody: a limit with a slip of the pen in it must not become no
limit.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from berth_api import names
from berth_gateway.routing.keyring import ApiKey

_log = logging.getLogger(__name__)

MAX_REQUESTS_PER_MINUTE: Final = 10_000_000  # beyond what any gateway answers
_SHA256: Final = r"^[0-9a-fA-F]{64}$"
_EXAMPLE: Final = '{"sha256": "<64 hex digits>", "models": ["my-model"], "requestsPerMinute": 600}'


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=to_camel)

    sha256: str = Field(pattern=_SHA256)
    models: list[Annotated[str, Field(min_length=1)]] | None = None
    manage: bool = False
    requests_per_minute: int | None = Field(default=None, ge=1, le=MAX_REQUESTS_PER_MINUTE)


def from_secret(fields: Mapping[str, bytes]) -> list[ApiKey]:
    """Keys by id. What cannot be read is left out and named in the log, without its value."""
    read = (_read(name, value) for name, value in fields.items())
    return [key for key in read if key is not None]


def _read(name: str, value: bytes) -> ApiKey | None:
    try:
        return _parsed(name, value.decode())
    except (ValueError, RecursionError) as error:
        _log.warning("%s: %s admits nobody: %s", names.SECRET_API_KEYS, name, error)
        return None


def entry(name: str, document: Any) -> ApiKey:
    """A key of an entry that has been parsed. ValueError says what is wrong with which field."""
    try:
        read = _Entry.model_validate(document)
    except ValidationError as error:
        raise ValueError(_problem(error)) from None
    return ApiKey(
        name=name,
        sha256=read.sha256.lower(),
        models=None if read.models is None else tuple(read.models),
        requests_per_minute=read.requests_per_minute,
        manages=read.manage,
    )


def plain(name: str, key: str) -> ApiKey:
    """A key that is known in plaintext, without limits."""
    return ApiKey(name, hashlib.sha256(key.encode()).hexdigest())


def _parsed(name: str, text: str) -> ApiKey:
    text = text.strip()
    if not text.startswith("{"):
        return entry(name, {"sha256": text})
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at character {error.pos}") from None
    return entry(name, document)


def _problem(error: ValidationError) -> str:
    """Never with the value: it may be a key that was not hashed."""
    first = error.errors(include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the entry"
    return f"{where}: {first['msg']}; write {_EXAMPLE}"
