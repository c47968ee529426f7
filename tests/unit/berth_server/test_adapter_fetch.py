"""Adapters into folders: their two files, whole, one after the other."""

import json

import pytest

from berth_api.server import AdaptersConfig, FetchConfig
from berth_server import adapter_fetch, store
from berth_server.errors import SourceError
from standins import tiny_model


@pytest.fixture
def several(endpoint, tmp_path, repositories):
    def make(*names):
        wanted = [
            FetchConfig(
                source=f"hf://berth/{name}",
                commit=repositories[f"berth/{name}"].commit,
                directory=str(tmp_path / name),
            )
            for name in names
        ]
        parts = adapter_fetch.jobs(AdaptersConfig(adapters=wanted), {"HF_ENDPOINT": endpoint})
        return adapter_fetch.Several(tmp_path, parts)

    return make


def test_an_adapters_two_files_are_fetched_and_nothing_else(several, repositories, tmp_path):
    several("lora").run()
    found = {path.name for path in (tmp_path / "lora").iterdir() if path.name[0] != "."}
    assert found == tiny_model.adapter().keys()
    assert store.is_whole(tmp_path / "lora", repositories["berth/lora"].commit)


def test_whoever_watches_is_told_which_one_it_is(several):
    job = several("lora")
    job.run()
    assert job.doing == "adapter 1 of 1: berth/lora"


def test_one_that_cannot_be_fetched_ends_it_with_its_reason(several):
    with pytest.raises(SourceError) as raised:
        several("lora", "lora-pickled").run()
    assert raised.value.failure.reason == "NoSafetensors"


def test_the_container_ends_with_the_reason_in_its_last_words(
    endpoint, tmp_path, monkeypatch, repositories
):
    commit = repositories["berth/lora-gated"].commit
    directory = str(tmp_path / "lora" / commit)
    one = FetchConfig(source="hf://berth/lora-gated", commit=commit, directory=directory)
    monkeypatch.setenv("BERTH_ADAPTERS_CONFIG", AdaptersConfig(adapters=[one]).wire())
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    monkeypatch.setattr("sys.argv", ["adapter_fetch", str(tmp_path / "log")])
    assert adapter_fetch.main() == 1
    assert json.loads((tmp_path / "log").read_text())["reason"] == "GatedModel"


def test_without_a_configuration_it_does_not_start(monkeypatch, tmp_path):
    monkeypatch.delenv("BERTH_ADAPTERS_CONFIG", raising=False)
    monkeypatch.setattr("sys.argv", ["adapter_fetch", str(tmp_path / "log")])
    assert adapter_fetch.main() == 2
