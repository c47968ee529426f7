#!/usr/bin/env python3
"""Delete the CUDA libraries that importing torch does not load.

PyPI's torch is linked against CUDA and does not start without part of it. The rest is opened by
name when a GPU is used, which never happens in this image.
"""

from pathlib import Path

import torch


def main() -> None:
    maps = Path("/proc/self/maps").read_text().splitlines()
    loaded = {Path(line.split()[-1]) for line in maps if "/nvidia/" in line}
    libraries = Path(torch.__file__).parent.parent / "nvidia"
    for file in libraries.rglob("*"):
        if file.is_file() and file.resolve() not in loaded and file.suffix != ".py":
            file.unlink()


if __name__ == "__main__":
    main()
