"""Addresses that a request asks the engine to fetch: an engine that obeys can be sent anywhere.

OpenAI's parts name them in a field that ends in `_url`, Anthropic's in a `source` of type `url`.
Both may lie inside other parts, so the whole value is searched.
"""

from collections.abc import Iterator
from typing import Any, Final

from berth_gateway.errors import Kind, Refusal
from berth_gateway.routing.jsontext import shown

_URL_SUFFIX: Final = "_url"
_SOURCE: Final = "source"
_DATA_SCHEME: Final = "data:"


def check(place: str, value: Any) -> None:
    """Refusal if `value`, which the body has at `place`, names anything but a data: URL."""
    for where, url in _urls(place, value):
        if not url.startswith(_DATA_SCHEME):
            message = (
                f"{where} is {shown(url)}; this gateway accepts data: URLs only, "
                "so send the content itself in base64"
            )
            raise Refusal(Kind.UNSUPPORTED_MEDIA_URL, message, param=where)


def _urls(place: str, value: Any) -> Iterator[tuple[str, str]]:
    """Each URL with its place. A stack, not a recursion: a client chooses the depth."""
    left = [(place, value)]
    while left:
        at, found = left.pop()
        if isinstance(found, list):
            left.extend(
                (f"{at}[{row}]", item)
                for row, item in enumerate(found)
                if isinstance(item, (list, dict))
            )
        elif isinstance(found, dict):
            for name, child in found.items():
                where = f"{at}.{name}"
                url = _named(name, child)
                if url is not None:
                    yield where, url
                elif isinstance(child, (list, dict)):
                    left.append((where, child))


def _named(field: str, value: Any) -> str | None:
    """The URL of {"image_url": {"url"}}, of its short form, or of {"source": {"url"}}."""
    if not (field.endswith(_URL_SUFFIX) or field == _SOURCE):
        return None
    url = value.get("url") if isinstance(value, dict) else None if field == _SOURCE else value
    return url if isinstance(url, str) else None
