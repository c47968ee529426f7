import types

import pytest

from berth_server import plugin, variables


class FakeCpu:
    def __init__(self, *, supported):
        self.supported = supported
        self.initialised = False

    def _is_amx_tile_supported(self):
        return self.supported

    def _init_amx(self):
        self.initialised = True


@pytest.fixture
def torch(monkeypatch):
    def use(cpu):
        module = types.SimpleNamespace(cpu=cpu)
        monkeypatch.setattr(plugin.importlib, "import_module", lambda _: module)
        return cpu

    monkeypatch.delenv(variables.FORK, raising=False)
    return use


@pytest.mark.parametrize("supported", [True, False])
def test_amx_is_initialised_where_the_processor_has_it(torch, supported):
    cpu = torch(FakeCpu(supported=supported))
    plugin.register()
    assert cpu.initialised is supported


def test_a_torch_without_amx_does_not_stop_the_engine(torch):
    torch(object())
    plugin.register()


def test_forking_is_installed_once_and_not_in_spawned_children(torch, monkeypatch):
    torch(FakeCpu(supported=False))
    calls = []
    monkeypatch.setattr(plugin.fork, "install", lambda: calls.append(1))
    monkeypatch.setenv(variables.FORK, "1")
    plugin.register()
    plugin.register()
    assert calls == [1]


def test_another_vllm_starts_all_the_same(torch, monkeypatch):
    torch(FakeCpu(supported=False))

    def absent():
        raise AttributeError("_maybe_force_spawn")

    monkeypatch.setattr(plugin.fork, "install", absent)
    monkeypatch.setenv(variables.FORK, "1")
    plugin.register()
