from dev.images import DebianPackage, debian_packages
from dev.sbom import with_packages

PYTHON = {"type": "library", "bom-ref": "msgspec-1", "name": "msgspec", "version": "0.22.0"}
BOM = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.5",
    "metadata": {"tools": [], "component": {"type": "library", "name": "berth"}},
    "components": [PYTHON],
}


def test_what_dpkg_lists_is_read():
    text = "libc6\t2.36-9+deb12u13\tamd64\nadduser\t3.134\tall\n"
    assert debian_packages(text) == [
        DebianPackage("libc6", "2.36-9+deb12u13", "amd64"),
        DebianPackage("adduser", "3.134", "all"),
    ]


def test_an_image_has_its_python_and_its_debian_packages():
    packages = [DebianPackage("libstdc++6", "1:12.2.0-14", "amd64")]
    found = with_packages(BOM, "localhost/berth-control:dev", packages)
    assert found["components"][0] == PYTHON
    assert found["components"][1]["purl"] == (
        "pkg:deb/debian/libstdc%2B%2B6@1%3A12.2.0-14?arch=amd64"
    )
    assert found["metadata"]["component"]["name"] == "localhost/berth-control:dev"
    assert found["metadata"]["tools"] == []


def test_every_component_can_be_referred_to_by_itself():
    packages = [DebianPackage("a", "1", "amd64"), DebianPackage("a", "1", "arm64")]
    found = with_packages(BOM, "image", packages)
    names = [one["bom-ref"] for one in found["components"]]
    assert len(set(names)) == len(names) == 3
