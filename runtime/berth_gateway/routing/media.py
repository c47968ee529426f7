"""Addresses that a request asks the engine to fetch: an engine that obeys can be sent anywhere.

OpenAI's parts name them in a field that ends in `_url`, Anthropic's in a `source` of type `url`.
Both may lie inside other parts, so the whole value is searched.
"""

from collections.abc import Iterator
from typing import Any, Final

from berth_gateway.errors import Kind, Refusal
from berth_gateway.routing.jsontext import cut, shown

_URL_SUFFIX: Final = "_url"
_SOURCE: Final = "source"
_DATA_SCHEME: Final = "data:"

# Where a value is: its parent's place, and the name or row in it. Written out only for a refusal,
# or each of a million values below a long name would cost that name's length.
_Place = tuple["_Place | None", str | int]


def check(place: str, value: Any) -> None:
    """Refusal if `value`, which the body has at `place`, names anything but a data: URL."""
    for at, url in _urls(place, value):
        if not url.startswith(_DATA_SCHEME):
            where = cut(_written(at))
            message = (
                f"{where} is {shown(url)}; this gateway accepts data: URLs only, "
                "so send the content itself in base64"
            )
            raise Refusal(Kind.UNSUPPORTED_MEDIA_URL, message, param=where)


def _urls(place: str, value: Any) -> Iterator[tuple[_Place, str]]:
    """Each URL with its place. A stack, not a recursion: a client chooses the depth."""
    left: list[tuple[_Place, Any]] = [((None, place), value)]
    while left:
        at, found = left.pop()
        if isinstance(found, list):
            left.extend(
                ((at, row), item)
                for row, item in enumerate(found)
                if isinstance(item, (list, dict))
            )
        elif isinstance(found, dict):
            for name, child in found.items():
                url = _named(name, child)
                if url is not None:
                    yield (at, name), url
                elif isinstance(child, (list, dict)):
                    left.append(((at, name), child))


def _written(place: _Place) -> str:
    """As in messages[0].content[1].image_url."""
    steps: list[str] = []
    parent, step = place
    while parent is not None:
        steps.append(f"[{step}]" if isinstance(step, int) else f".{step}")
        parent, step = parent
    return "".join([str(step), *reversed(steps)])


def _named(field: str, value: Any) -> str | None:
    """The URL of {"image_url": {"url"}}, of its short form, or of {"source": {"url"}}."""
    if not (field.endswith(_URL_SUFFIX) or field == _SOURCE):
        return None
    url = value.get("url") if isinstance(value, dict) else None if field == _SOURCE else value
    return url if isinstance(url, str) else None
