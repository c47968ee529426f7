"""Which files of a repository an engine needs, and which of them hold weights. Pure.

Safetensors, configurations and tokenizers; never pickles, whose loading runs code, and never a
second copy of the weights in another format.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from berth_server import weights

# What vLLM and transformers read beside the weights: *.model is sentencepiece, *.jinja a chat
# template, *.txt the merges of a BPE, *.tiktoken and vocab files some tokenizers' own form.
_KEPT_SUFFIXES: Final = frozenset(
    {weights.SUFFIX, ".json", ".model", ".txt", ".jinja", ".tiktoken"}
)
# Named in messages only.
_PICKLED: Final = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl"})
# A repository may hold the original checkpoint again in Mistral's own layout.
_CONSOLIDATED: Final = re.compile(r"consolidated.*\.safetensors")
# An embedding model's pooling and dense layers, as sentence-transformers lays them out.
_MODULE: Final = re.compile(r"\d+_[A-Za-z]+/(config\.json|model\.safetensors)")


@dataclass(frozen=True)
class RemoteFile:
    path: str
    size_bytes: int
    sha256: str | None = None  # of files in large-file storage; the others are small


def needed(
    files: Iterable[RemoteFile], indexed: frozenset[str] | None = None
) -> tuple[RemoteFile, ...]:
    """What is fetched: the first level of the repository, in one format.

    `indexed` are the weights files that the repository's index names, if it has one.
    """
    kept = [file for file in files if _kept(file.path)]
    held = frozenset(file.path for file in kept if _is_weights(file.path))
    standard = frozenset(path for path in held if not _CONSOLIDATED.fullmatch(path))
    chosen = indexed or standard or held
    return tuple(file for file in kept if file.path not in held or file.path in chosen)


def weight_files(files: Iterable[RemoteFile]) -> tuple[RemoteFile, ...]:
    return tuple(file for file in files if _is_weights(file.path))


def has_pickles(paths: Iterable[str]) -> bool:
    return any(PurePosixPath(path).suffix in _PICKLED for path in paths)


def _kept(path: str) -> bool:
    if "/" in path:
        return _MODULE.fullmatch(path) is not None
    return PurePosixPath(path).suffix in _KEPT_SUFFIXES


def _is_weights(path: str) -> bool:
    return path.endswith(weights.SUFFIX)
