"""A pool of stand-in engines as its user and its administrator write it down."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import builders
import said_nodes

from berth_api import names

Object = dict[str, Any]

POOL = "shared"
CLAIM = "models"
CARD_BYTES = 16 * 2**30
PODS = 2


@dataclass(frozen=True)
class Scene:
    """What is served: shares of a card by model, and the pool's patience."""

    shares: Mapping[str, str]
    min_residency_seconds: int
    starvation_seconds: int
    max_wait_seconds: int
    engine: Mapping[str, str]  # the stand-in's knobs

    def settings(self, node_pool: str) -> Object:
        """The operator's, beside the tests' own."""
        engine = {
            "name": "standin",
            "image": "example.test/standin:0.32",
            "command": [sys.executable, "-m", "standins.engine"],
            "device": "cuda",
            "version": "0.32",
            "env": dict(self.engine),
        }
        card = {
            "name": "card",
            "engineProfile": "standin",
            "resource": "nvidia.com/gpu",
            "memory": "16Gi",
            "gpusPerNode": PODS,
            "nodeSelector": {said_nodes.POOL: node_pool},
        }
        shapes = {source(name): dict(builders.SMOLLM2_REPORT) for name in self.shares}
        return {
            "engineProfiles": [engine],
            "acceleratorProfiles": [card],
            "modelShapes": shapes,
        }

    def pool(self) -> Object:
        spec = {
            "accelerator": {"profile": "card"},
            "replicas": PODS,
            "cache": {"claimName": CLAIM},
            "residency": {
                "minResidencySeconds": self.min_residency_seconds,
                "starvationSeconds": self.starvation_seconds,
            },
        }
        kind = {"apiVersion": names.API_VERSION, "kind": names.KIND_POOL}
        return kind | {"metadata": {"name": POOL}, "spec": spec}


def source(model: str) -> str:
    return f"pvc://{CLAIM}/{model}"
