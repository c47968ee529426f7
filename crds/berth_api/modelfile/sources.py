"""FROM and ADAPTER: what Ollama and people write there, as `spec.model.source` or a refusal."""

import re
from collections.abc import Callable
from typing import Final

from berth_api.modelfile.said import Part, Problem, Said
from berth_api.spec import SOURCE_PATTERN

MODEL: Final = ("model", "source")
ADAPTERS: Final = ("adapters",)
DEFAULT_ADAPTER: Final = ("defaults", "adapter")
_SOURCES: Final = (
    "hf://organisation/model[@revision], hf.co/organisation/model, pvc://claim[/folder], an "
    "image as oci://registry/image:tag, or the name of a ModelDeployment"
)
_HUB: Final = re.compile(r"(?:https?://)?(?:www\.)?(?:hf\.co|huggingface\.co)/+(.+)")
_OLLAMAS: Final = ("registry.ollama.ai", "ollama.com")


def of_model(given: str) -> Said:
    for applies, said in _NO_SOURCES:
        if applies(given):
            return Problem(f"FROM {given}: {said}")
    source = _of_hub(given) or (given if "://" in given else f"oci://{given}")
    if not re.search(SOURCE_PATTERN, source) or ".." in source:
        return Problem(f"FROM {given}: no model source; write {_SOURCES}")
    return Part(MODEL, source)


def of_adapter(given: str) -> Said:
    """An adapter is called by the last part of its source; `DEFAULT_ADAPTER` is to name it."""
    if _is_local(given):
        return Problem(
            f"ADAPTER {given} is a file, and the engine loads adapters in safetensors from a hub "
            f"or a claim; {_ADAPTER_FIX}"
        )
    source = _of_hub(given) or given
    if not re.match(r"(hf|pvc)://", source) or not re.search(SOURCE_PATTERN, source):
        return Problem(f"ADAPTER {given} is no source of an adapter; {_ADAPTER_FIX}")
    name = source.partition("@")[0].rstrip("/").rpartition("/")[2]
    return Part(ADAPTERS, [{"name": name, "source": source}])


_ADAPTER_FIX: Final = "write ADAPTER hf://organisation/adapter, or pvc://claim/folder"


def _of_hub(given: str) -> str | None:
    """`hf.co/organisation/model` as a source."""
    found = _HUB.fullmatch(given)
    return f"hf://{found[1].rstrip('/').removesuffix(':latest')}" if found else None


def _is_quantised(given: str) -> bool:
    """A tag behind a repository is the name of a GGUF file: Q4_K_M."""
    source = _of_hub(given) or given
    repository = source.removeprefix("hf://").partition("@")[0]
    named = re.search(r"[-_.]gguf$", repository, re.IGNORECASE) is not None
    return source.startswith("hf://") and (":" in repository or named)


def _is_local(given: str) -> bool:
    if "://" in given:
        return False
    beginning = given.startswith(("/", "./", "../", "~", ".\\", "\\")) or given in (".", "..")
    return beginning or re.search(r"(?i)\.(gguf|bin|safetensors|pth)$", given) is not None


def _is_ollamas(given: str) -> bool:
    """A name of Ollama's library, with its registry or without: llama3.2, user/model:tag."""
    if "://" in given or _of_hub(given):
        return False
    host, slash, _ = given.partition("/")
    is_host = bool(slash) and ("." in host or ":" in host or host == "localhost")
    return not is_host or host in _OLLAMAS


_NAMES_NOTHING: Final = f"it names nothing; write {_SOURCES}"
_GGUF: Final = (
    "this is GGUF, and the engine serves safetensors; write the repository that it was made from, "
    "which its model card names, for example hf://Qwen/Qwen3-8B"
)
_LOCAL: Final = (
    "a file or folder of this machine, which pods do not see, and GGUF is not served; put a "
    "folder with safetensors on a claim and write pvc://claim/folder"
)
_LIBRARY: Final = (
    "no ModelDeployment has this name, and what Ollama's library has under it is GGUF, which the "
    "engine does not serve; write the original's repository, for example "
    "hf://meta-llama/Llama-3.2-3B-Instruct for llama3.2 or hf://Qwen/Qwen3-8B for qwen3"
)
_NO_SOURCES: Final[tuple[tuple[Callable[[str], bool], str], ...]] = (
    (lambda given: not given, _NAMES_NOTHING),
    (_is_quantised, _GGUF),
    (_is_local, _LOCAL),
    (_is_ollamas, _LIBRARY),
)
