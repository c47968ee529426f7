"""What the fetcher and the shape Job were asked for, from their environment."""

from collections.abc import Mapping
from typing import Final

from pydantic import ValidationError

from berth_api import names
from berth_api.server import AdaptersConfig, FetchConfig
from berth_api.source import HubSource, parse
from berth_server.errors import ConfigurationError
from berth_server.hub import Repository

_ENDPOINT: Final = "HF_ENDPOINT"
_DEFAULT_ENDPOINT: Final = "https://huggingface.co"


def read(environment: Mapping[str, str]) -> FetchConfig:
    """Raises ConfigurationError."""
    try:
        return FetchConfig.model_validate_json(environment.get(names.ENV_FETCH_CONFIG, ""))
    except ValidationError as error:
        raise ConfigurationError(f"{names.ENV_FETCH_CONFIG}: {error}") from error


def read_adapters(environment: Mapping[str, str]) -> AdaptersConfig:
    """Raises ConfigurationError."""
    try:
        given = environment.get(names.ENV_ADAPTERS_CONFIG, "")
        return AdaptersConfig.model_validate_json(given)
    except ValidationError as error:
        raise ConfigurationError(f"{names.ENV_ADAPTERS_CONFIG}: {error}") from error


def repository(config: FetchConfig, environment: Mapping[str, str]) -> Repository:
    """The hub's repository behind an hf:// source. Raises ConfigurationError for another one."""
    try:
        source = parse(config.source)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    if not isinstance(source, HubSource):
        raise ConfigurationError(f"{config.source} is not fetched from a hub")
    return Repository(
        name=source.repository,
        revision=source.revision,
        endpoint=(environment.get(_ENDPOINT) or _DEFAULT_ENDPOINT).rstrip("/"),
        token=environment.get(names.ENV_HF_TOKEN, "").strip() or None,
        token_secret=config.token_secret,
    )
