"""What is the same for every ModelDeployment: the settings and the release's master key."""

from dataclasses import dataclass

from berth_operator.settings import Settings


@dataclass(frozen=True)
class Context:
    settings: Settings
    master_key: bytes
    """Seeds the engine keys: HMAC(master key, CR uid)."""
