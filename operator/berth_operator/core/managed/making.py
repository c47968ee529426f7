"""The ModelDeployment for what an Ollama client asks to create, pull or copy.

Ollama loads a model when it is asked for and not when it is made, so these begin at zero replicas.
Names lead to one model each: an order that would hide another one, or be hidden, is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from berth_api import names
from berth_api.modelfile import document, translation
from berth_api.modelfile.grammar import Modelfile
from berth_api.models_api import ModelOrder
from berth_api.spec import ScalingMode

Object = Mapping[str, Any]

# What is one object's own: its names, how many of it run, and whether somebody holds it.
_NOT_COPIED: Final = ("replicas", "paused")
_ON_DEMAND: Final = {"mode": ScalingMode.AUTO.value, "minReplicas": 0}


@dataclass(frozen=True)
class Made:
    """`remarks` are what of the order changes nothing here."""

    model: dict[str, Any]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Refused:
    """`status` is HTTP's; `reason` is for the client."""

    status: int
    reason: str


def created(order: ModelOrder, read: Modelfile, base: Object | None) -> Made | Refused:
    """`base` is the model that FROM names, if it names one."""
    if base is not None:
        read = document.made_from(read, base["metadata"]["name"])
    found = translation.translate(read, order.name, base)
    if found.model is None:
        return Refused(HTTPStatus.BAD_REQUEST, "; ".join(found.problems))
    return Made(_managed(found.model), found.remarks)


def pulled(order: ModelOrder) -> Made | Refused:
    found = created(order, document.of_model(order.name), None)
    if isinstance(found, Refused):  # in a Modelfile's words, which nobody wrote
        return Refused(found.status, found.reason.removeprefix("FROM "))
    return found


def copied(order: ModelOrder, source: Object) -> Made | Refused:
    """All of the source's spec but what is its own."""
    named = created(order, document.of_model(source["metadata"]["name"]), source)
    if isinstance(named, Refused):
        return named
    kept = {name: value for name, value in source["spec"].items() if name not in _NOT_COPIED}
    scaling = source["spec"].get("scaling", {}) | _ON_DEMAND
    model = named.model["spec"]["model"]
    return Made(named.model | {"spec": kept | {"model": model, "scaling": scaling}})


def refused_name(order: ModelOrder, namespace: str, found: Object | None) -> Refused | None:
    """Why the name cannot be given; `found` is the object that would be written over."""
    name = translation.object_name(order.name)
    place = order.place
    if place is not None and (place.namespace, place.name) != (namespace, name):
        there = f"ModelDeployment {place.name} in namespace {place.namespace}"
        return _taken(f"{order.name} is a name of {there}; choose another")
    if found is None:
        return None
    if not translation.answers_to(found, order.name):
        return _taken(
            f"{order.name} would be ModelDeployment {name}, which is another model's name"
        )
    if found["metadata"].get("labels", {}).get(names.LABEL_MANAGED_BY) != _MANAGER:
        return _taken(
            f"{order.name} was not made by this API, which writes over nobody's work; change it "
            "where it was made, or delete it first"
        )
    return None


def _taken(reason: str) -> Refused:
    return Refused(HTTPStatus.CONFLICT, reason)


_MANAGER: Final = names.MODELS_FIELD_MANAGER


def _managed(model: dict[str, Any]) -> dict[str, Any]:
    labels = {names.LABEL_MANAGED_BY: _MANAGER}
    return model | {
        "metadata": model["metadata"] | {"labels": labels},
        "spec": model["spec"] | {"scaling": dict(_ON_DEMAND)},
    }
