from dataclasses import replace
from pathlib import Path

import pytest

from dev import binaries
from dev.errors import DevError

ETCD = next(module for module in binaries.MODULES if module.name == "etcd")


def test_a_build_is_named_by_its_flags() -> None:
    other = replace(ETCD, version_variables=("main.version=2",))
    assert binaries.fingerprint(ETCD) == binaries.fingerprint(replace(ETCD))
    assert binaries.fingerprint(ETCD) != binaries.fingerprint(other)


def test_a_build_is_named_by_what_it_keeps() -> None:
    keda = binaries.KEDA_MODULE
    assert binaries.fingerprint(keda) != binaries.fingerprint(replace(keda, definitions=()))


def test_keda_is_built_for_its_own_tests_only() -> None:
    assert binaries.KEDA_MODULE not in binaries.MODULES


def test_a_build_is_named_by_its_pins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "_MODULES_DIR", tmp_path)
    (tmp_path / "etcd").mkdir()
    names = set()
    for sums in ("one", "two"):
        (tmp_path / "etcd" / "go.sum").write_text(sums)
        names.add(binaries.directory(ETCD).name)
    assert len(names) == 2


def test_a_missing_binary_is_reported_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(DevError, match="python3 -m dev build"):
        binaries.path("kubelet")


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("go version go1.26.8 linux/amd64", (1, 26)),
        ("go version go1.9 linux/amd64", (1, 9)),
        ("go version devel +3b2a", (0, 0)),
    ],
)
def test_go_version(text: str, version: tuple[int, int]) -> None:
    assert binaries.parse_go_version(text) == version
