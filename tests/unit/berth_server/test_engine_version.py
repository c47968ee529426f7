"""An engine with known holes is not started, whatever its image is called."""

from importlib import metadata

import pytest
from engine_configs import engine_config

from berth_server import engine_version, reasons
from berth_server.errors import EngineFailed


def engine(**changes):
    return engine_config(device="cpu", **changes)


def installed(monkeypatch, version):
    monkeypatch.setattr(metadata, "version", {"vllm": version}.__getitem__)


def test_a_version_with_known_holes_is_not_started(monkeypatch):
    installed(monkeypatch, "0.14.0+cpu")
    with pytest.raises(EngineFailed) as refused:
        engine_version.check(engine())
    failure = refused.value.failure
    assert failure.reason == reasons.ENGINE_VULNERABLE
    assert "vLLM 0.14.0" in failure.message
    assert "CVE-2026-22778" in failure.message
    assert "allowUnsupported" in failure.fix


def test_an_administrator_may_allow_it(monkeypatch):
    installed(monkeypatch, "0.14.0")
    engine_version.check(engine(allow_unsupported=True))


@pytest.mark.parametrize("version", ["0.19.0", "0.32.0+cpu", "built from a branch"])
def test_other_versions_are_started(monkeypatch, version):
    installed(monkeypatch, version)
    engine_version.check(engine())


def test_an_engine_that_is_not_vllm_is_started():
    with pytest.raises(metadata.PackageNotFoundError):
        metadata.version("vllm")  # or this tests nothing
    engine_version.check(engine())
