"""Which adapters the engine may load, with the engine's two types stood in for."""

import importlib
import sys
import types
from dataclasses import dataclass

import pytest

from berth_server import plugin, variables


@dataclass
class Request:
    lora_name: str
    lora_int_id: int
    lora_path: str


class Registry:
    def __init__(self):
        self.resolvers = {}

    def register_resolver(self, name, resolver):
        self.resolvers[name] = resolver


@pytest.fixture
def registry(monkeypatch):
    found = Registry()
    resolver = types.ModuleType("vllm.lora.resolver")
    resolver.LoRAResolver, resolver.LoRAResolverRegistry = object, found
    request = types.ModuleType("vllm.lora.request")
    request.LoRARequest = Request
    for module in (types.ModuleType("vllm"), types.ModuleType("vllm.lora"), resolver, request):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.delitem(sys.modules, "berth_server.adapter_resolver", raising=False)
    monkeypatch.delenv(variables.FORK, raising=False)
    yield found
    sys.modules.pop("berth_server.adapter_resolver", None)


async def test_the_plugin_offers_the_adapters_of_the_configuration(registry, monkeypatch):
    monkeypatch.setenv(variables.ADAPTERS, '{"sql": "/berth/adapters/sql/c"}')
    monkeypatch.setattr(plugin, "_initialise_amx", lambda: None)
    plugin.register()
    (resolver,) = registry.resolvers.values()
    found = await resolver.resolve_lora("base", "sql")
    assert (found.lora_name, found.lora_path) == ("sql", "/berth/adapters/sql/c")


@pytest.mark.parametrize("name", ["", "poems", "/berth/adapters/sql/c", "../sql", "SQL"])
async def test_a_name_that_is_not_among_them_is_nobodys(registry, name):
    resolver = importlib.import_module("berth_server.adapter_resolver")
    assert await resolver.Resolver({"sql": "/x"}).resolve_lora("base", name) is None


def test_an_engine_without_adapters_has_no_resolver(registry, monkeypatch):
    monkeypatch.delenv(variables.ADAPTERS, raising=False)
    monkeypatch.setattr(plugin, "_initialise_amx", lambda: None)
    plugin.register()
    assert registry.resolvers == {}
