"""Ollama's create, pull, copy and delete as orders for the operator, names looked up and judged.

A key with a list of models may manage those, by any of their names, and may give the names on its
list to models that are not there yet. Of others it is told what it is always told: there are none.
"""

import json
from collections.abc import Callable, Mapping
from typing import Final

from berth_api.modelfile import document
from berth_api.modelfile.grammar import ModelfileError
from berth_api.models_api import ModelOrder, Place, Verb
from berth_gateway.errors import Kind, Refusal
from berth_gateway.routing import jsontext
from berth_gateway.routing.keyring import ApiKey
from berth_gateway.routing.ollama import fields, listing, question
from berth_gateway.routing.ollama.fields import Json
from berth_gateway.routing.snapshot import Model, Snapshot

METHODS: Final[Mapping[Verb, str]] = {
    Verb.CREATE: "POST",
    Verb.PULL: "POST",
    Verb.COPY: "POST",
    Verb.DELETE: "DELETE",
}


class Names:
    """As the holder of `key` may use them; None may use all."""

    def __init__(self, snapshot: Snapshot, key: ApiKey | None) -> None:
        self._snapshot = snapshot
        self._key = key

    def find(self, name: str) -> Model | None:
        found = listing.find(self._snapshot, name)
        key = self._key
        return found if found is None or key is None or key.admits(found, self._snapshot) else None

    def existing(self, name: str) -> Place:
        """Refusal (404)."""
        found = self.find(name)
        if found is None:
            raise Refusal(Kind.MODEL_NOT_FOUND, f"model {jsontext.shown(name)} not found")
        return _place(found)

    def given(self, name: str) -> Place | None:
        """What has a name that is to be given. Refusal (403) where the key may not give it."""
        found = self.find(name)
        if found is not None:
            return _place(found)
        if self._key is not None and not self._key.may_name(_without_tag(name)):
            shown = jsontext.shown(name)
            raise Refusal(
                Kind.NOT_ALLOWED,
                f"this API key may manage the models on its list, and {shown} is not on it",
            )
        return None


def order(verb: Verb, found: Json, names: Names) -> ModelOrder:
    """Of a body that has been read. Refusal (400, 403, 404)."""
    _check_is_json(found)
    return _ORDERS[verb](found, names)


def _create(found: Json, names: Names) -> ModelOrder:
    try:
        origin = document.modelfile(found).origin
    except ModelfileError as error:
        raise Refusal(Kind.BAD_REQUEST, str(error)) from error
    name = question.name(found, "name")
    base = names.find(origin)
    return ModelOrder(
        name=_without_tag(name),
        place=names.given(name),
        source=None if base is None else _place(base),
        stream=_streams(found),
        document=dict(found),
    )


def _pull(found: Json, names: Names) -> ModelOrder:
    name = question.name(found, "name")
    return ModelOrder(name=_without_tag(name), place=names.given(name), stream=_streams(found))


def _copy(found: Json, names: Names) -> ModelOrder:
    source, name = (_required(found, one) for one in ("source", "destination"))
    place = names.existing(source)
    return ModelOrder(name=_without_tag(name), place=names.given(name), source=place)


def _delete(found: Json, names: Names) -> ModelOrder:
    name = question.name(found, "name")
    return ModelOrder(name=_without_tag(name), place=names.existing(name))


_ORDERS: Final[Mapping[Verb, Callable[[Json, Names], ModelOrder]]] = {
    Verb.CREATE: _create,
    Verb.PULL: _pull,
    Verb.COPY: _copy,
    Verb.DELETE: _delete,
}


def _check_is_json(found: Json) -> None:
    """Python reads more than JSON has, and an order is passed on."""
    try:
        json.dumps(dict(found), ensure_ascii=False, allow_nan=False).encode()
    except ValueError as error:
        message = "the body holds NaN, an infinite number or half a character; write neither"
        raise Refusal(Kind.BAD_REQUEST, message) from error


def _required(found: Json, field: str) -> str:
    given = fields.text(found, field)
    if not given:
        raise Refusal(Kind.BAD_REQUEST, f"{field} is required", param=field)
    return given


def _streams(found: Json) -> bool:
    return fields.flag(found, "stream") is not False


def _without_tag(name: str) -> str:
    return name.removesuffix(listing.LATEST)


def _place(model: Model) -> Place:
    return Place(namespace=model.namespace, name=model.name, uid=model.key)
