"""The page's files, read once, and what a browser may do with them.

They are few and small, so a table of them is all of a file server: no request reaches a disk.
"""

from collections.abc import Mapping
from importlib import resources
from typing import Final, NamedTuple

INDEX: Final = "index.html"
_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
# Its own scripts, styles and requests and nothing else: no inline script, no frame around it, and
# no text that becomes markup.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS: Final = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-cache",  # an upgrade of Berth is an upgrade of its page
}


class File(NamedTuple):
    media_type: str
    content: bytes


def files() -> Mapping[str, File]:
    """By name, from the package."""
    folder = resources.files(__package__).joinpath("files")
    return {
        one.name: File(_TYPES[one.name.rpartition(".")[2]], one.read_bytes())
        for one in folder.iterdir()
    }
