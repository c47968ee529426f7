"""Which LoRA adapters the engine may load, by name: those of its configuration and no others.

The engine asks its resolvers when a request names a model that it does not have; one that is found
is loaded and stays known. Imported inside the engine alone.
"""

from collections.abc import Mapping
from typing import Final

from vllm.lora.request import LoRARequest
from vllm.lora.resolver import LoRAResolver, LoRAResolverRegistry

_NAME: Final = "berth"
_NO_ID: Final = 1  # the engine gives each adapter its own id; a request must have one before


class Resolver(LoRAResolver):  # type: ignore[misc]  # not installed here
    """`folders` are of adapters by name."""

    def __init__(self, folders: Mapping[str, str]) -> None:
        self._folders = folders

    async def resolve_lora(self, base_model_name: str, lora_name: str) -> LoRARequest | None:  # noqa: ARG002
        """None for a name that is not ours: the engine answers 404."""
        folder = self._folders.get(lora_name)
        if folder is None:
            return None
        return LoRARequest(lora_name=lora_name, lora_int_id=_NO_ID, lora_path=folder)


def register(folders: Mapping[str, str]) -> None:
    LoRAResolverRegistry.register_resolver(_NAME, Resolver(folders))
