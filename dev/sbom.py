"""`python3 -m dev.sbom IMAGE BOM`: adds an image's Debian packages to the list of its Python ones.

CycloneDX, to standard output. uv and cyclonedx-bom list what pip would; neither looks into dpkg.
"""

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dev import cluster
from dev.errors import DevError
from dev.images import DebianPackage

Bom = dict[str, Any]


def with_packages(bom: Bom, image: str, packages: Iterable[DebianPackage]) -> Bom:
    """The list of the whole image, which it then is about."""
    about = {"type": "container", "bom-ref": image, "name": image}
    return bom | {
        "metadata": {**bom.get("metadata", {}), "component": about},
        "components": [*bom["components"], *map(_component, packages)],
        "dependencies": bom.get("dependencies", []),
    }


def _component(package: DebianPackage) -> dict[str, str]:
    name, version = quote(package.name), quote(package.version, safe="")
    url = f"pkg:deb/debian/{name}@{version}?arch={package.architecture}"
    return {
        "type": "library",
        "bom-ref": url,
        "name": package.name,
        "version": package.version,
        "purl": url,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image")
    parser.add_argument("bom", type=Path)
    options = parser.parse_args()
    builder = cluster.current().builder
    if builder is None:
        raise DevError("the images of a cluster that was given are not at hand")
    bom = json.loads(options.bom.read_text())
    packages = builder.packages(options.image)
    json.dump(with_packages(bom, options.image, packages), sys.stdout, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
