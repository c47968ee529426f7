"""Where a model's files come from: `spec.model.source`, parsed once.

The operator shapes pods by it and the fetcher fetches by it, so both read it here.
"""

import re
from dataclasses import dataclass

from berth_api.spec import SOURCE_PATTERN


@dataclass(frozen=True)
class HubSource:
    """`hf://organisation/model[@revision]`: a repository of a Hugging Face hub or its mirror."""

    repository: str
    revision: str | None = None


@dataclass(frozen=True)
class OciSource:
    """`oci://reference`: an image whose files lie under /models, /model or its root."""

    reference: str


@dataclass(frozen=True)
class ClaimSource:
    """`pvc://claim[/folder]`: a PersistentVolumeClaim in the model's namespace."""

    claim: str
    folder: str = ""


Source = HubSource | OciSource | ClaimSource


def parse(text: str) -> Source:
    """The source that `text` names; ValueError names what is wrong with it."""
    if not re.match(SOURCE_PATTERN, text) or ".." in text:
        raise ValueError(
            f"{text!r} is no model source; write hf://organisation/model[@revision], "
            "oci://image:tag or pvc://claim[/folder]"
        )
    scheme, rest = text.split("://", 1)
    if scheme == "hf":
        repository, _, revision = rest.partition("@")
        return HubSource(repository, revision or None)
    if scheme == "oci":
        return OciSource(rest)
    claim, _, folder = rest.partition("/")
    return ClaimSource(claim, folder.strip("/"))
