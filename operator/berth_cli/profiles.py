"""Which accelerators a plan is made for: the operator's configuration, and the nodes it would see.

Without any, `defaults.yaml` is taken: the configuration that the chart's own values make. A test
holds it to what helm renders, so that there is one list of profiles and no other.
"""

import re
import reprlib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from berth_api.spec import Spec
from berth_cli.arguments import Card
from berth_cli.documents import of_yaml, text_of
from berth_cli.errors import InputError
from berth_operator import settings
from berth_operator.core.observed import Node
from berth_operator.errors import ConfigurationError
from berth_operator.settings import AcceleratorProfile, EngineProfile, Settings

_NO_LABEL: Final = re.compile(r"[^a-z0-9-]")

DEFAULTS: Final = files(__package__) / "defaults.yaml"


@dataclass(frozen=True)
class Fleet:
    """What a cluster has, or would have."""

    settings: Settings
    nodes: tuple[Node, ...] = ()
    hint: str = ""  # what else may be given, where nothing fits


def default() -> Settings:
    return parse(DEFAULTS.read_text(encoding="utf-8"), "the chart's defaults")


def without_cards() -> Fleet:
    """The chart's profiles, of which only the CPU's says its memory."""
    return Fleet(
        default(), hint="plan for a card: add --gpu 80Gi --gpus-per-node 8, --config or --cluster"
    )


def configured(path: Path) -> Settings:
    """Raises InputError."""
    return parse(text_of("--config", path), f"--config {path}")


def parse(text: str, what: str) -> Settings:
    """Raises InputError, which begins with `what`."""
    documents = of_yaml(text, what)
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise InputError(
            f"{what}: {reprlib.repr(documents)} is no operator's configuration; take config.yaml "
            "of the release's ConfigMap"
        )
    try:
        return settings.parse(documents[0])
    except (ConfigurationError, ValueError) as error:
        raise InputError(f"{what}: {error}") from error


def with_card(known: Settings, card: Card, spec: Spec) -> Fleet:
    """Only the card that was declared, in a pool without nodes. Raises InputError.

    It stands for the profile that the model names first, so that the model's file stays as it is.
    """
    like, engine = _like(known, card)
    profile = like.model_copy(
        update={
            "name": spec.accelerators[0].profile if spec.accelerators else _name(card),
            "engine_profile": engine.name,
            "resource": card.resource or like.resource,
            "memory": card.memory,
            "gpus_per_node": card.per_node,
            "compute": card.compute,
        }
    )
    return Fleet(known.model_copy(update={"accelerator_profiles": [profile]}))


def _like(known: Settings, card: Card) -> tuple[AcceleratorProfile, EngineProfile]:
    """The profile whose resource, tolerations and CPUs the card takes over."""
    of_cards = [one for one in known.accelerator_profiles if one.resource is not None]
    wanted = card.engine_profile
    for profile in of_cards:
        engine = known.engine_profile(profile.engine_profile)
        if engine is not None and wanted in (None, engine.name):
            return profile, engine
    names = ", ".join(dict.fromkeys(one.engine_profile for one in of_cards)) or "none"
    raise InputError(
        f"--engine-profile {wanted or 'auto'}: no accelerator profile with a card is run by it; "
        f"use one of {names}"
    )


def _name(card: Card) -> str:
    """A DNS label that says what it is: `gpu-80gi`, `mig-3g-40gb`."""
    told = card.resource.rpartition("/")[2] if card.resource else f"gpu-{card.memory}"
    return _NO_LABEL.sub("-", told.lower())
