"""Images, sound and video in a request: how many, and whence the engine is to fetch them.

An engine that fetches what a client names can be sent anywhere, and each part costs it a decoder's
run. OpenAI's parts name an address in a field that ends in `_url`, Anthropic's in a `source`. Both
may lie inside other parts, so the whole value is searched.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from berth_gateway.errors import Kind, Refusal
from berth_gateway.routing.jsontext import cut, shown
from berth_gateway.settings import Limits, MediaUrls

_URL_SUFFIX: Final = "_url"
_SOURCE: Final = "source"
_DATA_SCHEME: Final = "data:"
# Fields whose value is the content itself.
_CONTENTS: Final = frozenset({"input_audio", "image_embeds", "audio_embeds", "image_pil"})

# Where a value is: its parent's place, and the name or row in it. Written out only for a refusal,
# or each of a million values below a long name would cost that name's length.
_Place = tuple["_Place | None", str | int]


def check(values: Iterable[tuple[str, Any]], limits: Limits) -> None:
    """Refusal if `values`, each with its place in the body, hold what the limits do not allow."""
    count = 0
    for place, value in values:
        for at, url in _parts(place, value):
            count += 1
            if count > limits.media_parts:
                raise _too_many(at, limits.media_parts)
            if url is not None and limits.media_urls is MediaUrls.DATA_ONLY:
                _check_url(at, url)


def _too_many(at: _Place, limit: int) -> Refusal:
    where = cut(_written(at))
    message = (
        f"{where} is media part {limit + 1} of this request, and this gateway accepts {limit}; "
        "send the others in requests of their own"
    )
    return Refusal(Kind.BAD_REQUEST, message, param=where)


def _check_url(at: _Place, url: str) -> None:
    if not url.startswith(_DATA_SCHEME):
        where = cut(_written(at))
        message = (
            f"{where} is {shown(url)}; this gateway accepts data: URLs only, "
            "so send the content itself in base64"
        )
        raise Refusal(Kind.UNSUPPORTED_MEDIA_URL, message, param=where)


def _parts(place: str, value: Any) -> Iterator[tuple[_Place, str | None]]:
    """Each part's place and URL, None for content. A stack, not a recursion: a client's depth."""
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
                if url is not None or _is_content(name, child):
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


def _is_content(field: str, value: Any) -> bool:
    """Of {"input_audio": {...}}, or of {"source": {"type": "base64", "data"}}."""
    if field == _SOURCE:
        return isinstance(value, dict) and isinstance(value.get("data"), str)
    return field in _CONTENTS and value is not None
