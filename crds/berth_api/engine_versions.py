"""Versions of vLLM that Berth does not run, and what is known to be wrong with each.

The operator refuses them by an image's tag, or by what an administrator says of the image; the
server refuses them by the package that it finds, which a digest or a misleading tag cannot hide.
Only an administrator can allow one, in the engine's profile.
"""

import re
from dataclasses import dataclass
from typing import Final, NamedTuple


class Version(NamedTuple):
    """Of vLLM. A pre-release comes before its release, and lacks its fixes."""

    major: int
    minor: int
    patch: int = 0
    released: bool = True

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}{'' if self.released else ' (pre-release)'}"


@dataclass(frozen=True)
class Weakness:
    cve: str
    since: Version
    fixed: Version  # the first version without it
    what: str

    def affects(self, version: Version) -> bool:
        return self.since <= version < self.fixed


_EVERY: Final = Version(0, 0, 0, released=False)

# The worst first: a refusal names the first few that a version has.
WEAKNESSES: Final = (
    Weakness(
        "CVE-2026-22778", Version(0, 8, 3), Version(0, 14, 1), "a video in a request runs code"
    ),
    Weakness(
        "CVE-2026-27893",
        Version(0, 10, 1),
        Version(0, 18),
        "a model's repository runs code, whatever trust_remote_code says",
    ),
    Weakness(
        "CVE-2026-22807",
        Version(0, 10, 1),
        Version(0, 14),
        "a model's repository runs code, whatever trust_remote_code says",
    ),
    Weakness("CVE-2025-30202", _EVERY, Version(0, 8, 5), "its sockets listen on every interface"),
    Weakness(
        "CVE-2026-24779",
        _EVERY,
        Version(0, 14, 1),
        "a media URL reaches addresses that it must not",
    ),
    Weakness("CVE-2025-59425", _EVERY, Version(0, 11), "the time of an answer tells the API key"),
    Weakness(
        "CVE-2026-34755", Version(0, 7), Version(0, 19), "a video in a request takes all memory"
    ),
    Weakness("CVE-2026-34756", _EVERY, Version(0, 19), "one request's n takes all memory"),
)

OLDEST: Final = Version(0, 19)
"""Below it every version has a weakness of the table."""

_NAMED: Final = 3  # weaknesses that a refusal names

# One digit before the first dot: 25.09 is a date. What follows the numbers tells a pre-release
# (0.19.0rc2, 0.19.1.dev5+g1a2b3c4) from a build of a release (0.19.0.post1, 0.19.0-cu130).
_VERSION: Final = re.compile(
    r"v?(?P<major>\d)\.(?P<minor>\d{1,3})(?:\.(?P<patch>\d{1,3}))?"
    r"(?P<before>[._-]?(?:a|b|rc|dev)\d+)?(?!\d)",
    re.ASCII,
)
# As in rocm/vllm:rocm6.4.1_vllm_0.9.1_20250702.
_INSIDE_A_TAG: Final = re.compile(r"vllm[_-]", re.ASCII)
_MOST_CHARS: Final = 256  # of a text to read; image references are shorter


def parse(text: str) -> Version | None:
    """The version that `text` begins with; None if it begins with none."""
    found = _VERSION.match(text[:_MOST_CHARS])
    if found is None:
        return None
    major, minor, patch = (int(found[name] or 0) for name in ("major", "minor", "patch"))
    return Version(major, minor, patch, released=found["before"] is None)


def of_image(reference: str) -> Version | None:
    """What the tag of an image named after vLLM says; None of other images, and of a digest."""
    last = reference.partition("@")[0].rpartition("/")[2]
    repository, _, tag = last.partition(":")
    if "vllm" not in repository:
        return None
    inside = _INSIDE_A_TAG.search(tag)
    return parse(tag[inside.end() :] if inside else tag)


def weaknesses(version: Version) -> tuple[Weakness, ...]:
    return tuple(one for one in WEAKNESSES if one.affects(version))


def refusal(version: Version) -> str | None:
    """Why this version is not run, in one sentence; None if nothing is known against it."""
    found = weaknesses(version)
    if not found and version >= OLDEST:
        return None
    named = "; ".join(f"{one.cve}: {one.what}" for one in found[:_NAMED])
    return f"vLLM {version} is older than {OLDEST} and has known weaknesses ({named})"
