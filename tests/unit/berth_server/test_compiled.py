"""What an engine has compiled is there, whole, for its next start in another pod; or it is not."""

import io
import logging
import os
import tarfile
import time
from pathlib import Path

import pytest
from engine_configs import engine_config

from berth_api.server import CompiledConfig, EngineConfig
from berth_server import cards, compiled, cpus
from berth_server.compiled import Compiled
from berth_server.errors import CardsUnreadable

IMAGE = "example.test/vllm:1"


@pytest.fixture
def claim(tmp_path) -> Path:
    return tmp_path / "claim"


@pytest.fixture
def pod(tmp_path, claim):
    """Makes a pod's store; each pod has a cache of its own, all have the claim."""

    def made(name: str, image: str = IMAGE) -> tuple[Compiled, Path]:
        root = tmp_path / name
        root.mkdir()
        return Compiled(CompiledConfig(folder=str(claim), image=image), "cpu", root), root

    return made


def _engine(**changes: object) -> EngineConfig:
    return engine_config(**{"device": "cpu"} | changes)


def _write(root: Path, name: str, text: str = "code") -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


def _files(root: Path) -> dict[str, str]:
    found = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_text() for path in found}


def _compiles(store: Compiled, root: Path, name: str, **changes: object) -> None:
    """One start, which compiles `name`."""
    brought = store.bring(_engine(**changes))
    assert brought
    _write(root, name)
    brought.keep()


def test_the_next_pod_has_what_the_first_has_compiled(pod):
    store, root = pod("first")
    _compiles(store, root, "vllm/torch_compile_cache/ab/rank_0_0/kernel.so")
    other, its_root = pod("second")
    other.bring(_engine())
    assert _files(its_root) == {"vllm/torch_compile_cache/ab/rank_0_0/kernel.so": "code"}


def test_only_what_a_start_has_added_or_was_brought_is_kept(pod):
    store, root = pod("first")
    _write(root, "of-another-engine")
    _compiles(store, root, "one")
    other, its_root = pod("second")
    _compiles(other, its_root, "two")
    third, last_root = pod("third")
    third.bring(_engine())
    assert set(_files(last_root)) == {"one", "two"}


def test_a_start_that_adds_nothing_writes_nothing(pod, claim):
    store, root = pod("first")
    _compiles(store, root, "one")
    (pack,) = claim.iterdir()
    before = pack.stat().st_ino
    other, _ = pod("second")
    brought = other.bring(_engine())
    assert brought
    brought.keep()
    assert [path.stat().st_ino for path in claim.iterdir()] == [before]


def test_a_start_that_adds_next_to_nothing_writes_nothing_either(pod, claim):
    store, root = pod("first")
    brought = store.bring(_engine())
    assert brought
    _write(root, "kernel.so", "code" * 100)
    brought.keep()
    (pack,) = claim.iterdir()
    before = pack.stat().st_ino
    other, its_root = pod("second")
    _compiles(other, its_root, "note")
    assert [path.stat().st_ino for path in claim.iterdir()] == [before]


def test_a_file_that_is_written_again_is_kept_again(pod):
    store, root = pod("first")
    _compiles(store, root, "index")
    brought = store.bring(_engine())
    assert brought
    _write(root, "index", "longer code")
    brought.keep()
    other, its_root = pod("second")
    other.bring(_engine())
    assert _files(its_root) == {"index": "longer code"}


@pytest.mark.parametrize(
    "changes",
    [
        {"model_dir": "/berth/model/llama/2"},
        {"tensor_parallel_size": 2},
        {"max_num_seqs": 16},
        {"dtype": "float16"},
        {"extra_args": ["--seed", "1"]},
        {"env": {"VLLM_CPU_OMP_THREADS_BIND": "all"}},
    ],
)
def test_what_compiles_otherwise_is_kept_apart(pod, changes):
    store, root = pod("first")
    _compiles(store, root, "one")
    other, its_root = pod("second")
    other.bring(_engine(**changes))
    assert _files(its_root) == {}


def test_another_image_and_another_cpu_are_kept_apart(pod, monkeypatch):
    store, root = pod("first")
    _compiles(store, root, "one")
    other, its_root = pod("second", image="example.test/vllm:2")
    other.bring(_engine())
    monkeypatch.setattr(cpus, "kind", lambda: "flags: other")
    third, last_root = pod("third")
    third.bring(_engine())
    assert (_files(its_root), _files(last_root)) == ({}, {})


def test_a_models_name_its_port_and_its_share_of_memory_change_nothing():
    one = compiled.key(_engine(), IMAGE, "cpu")
    assert one == compiled.key(
        _engine(name="chat", port=8101, kv_cache_bytes=2**30, gpu_memory_fraction="0.45"),
        IMAGE,
        "cpu",
    )


def test_what_is_there_already_stays(pod):
    store, root = pod("first")
    _compiles(store, root, "shared")
    other, its_root = pod("second")
    _write(its_root, "shared", "in use")
    other.bring(_engine())
    assert _files(its_root) == {"shared": "in use"}


def test_a_torn_file_costs_a_compilation_and_is_replaced(pod, claim, caplog):
    store, root = pod("first")
    _compiles(store, root, "one")
    (pack,) = claim.iterdir()
    pack.write_bytes(pack.read_bytes()[:700])
    other, its_root = pod("second")
    with caplog.at_level(logging.WARNING):
        brought = other.bring(_engine())
    assert brought
    assert "is not used" in caplog.text
    _write(its_root, "one")
    brought.keep()
    third, last_root = pod("third")
    third.bring(_engine())
    assert _files(last_root) == {"one": "code"}


@pytest.mark.parametrize("name", ["../escaped", "a/../../escaped", "{root}/escaped", "."])
def test_nothing_leaves_the_cache_whatever_a_file_says(pod, claim, tmp_path, name):
    store, root = pod("first")
    _compiles(store, root, "one")
    (pack,) = claim.iterdir()
    with tarfile.open(pack, "w:") as opened:
        member = tarfile.TarInfo(name.format(root=tmp_path))
        member.size = 4
        opened.addfile(member, io.BytesIO(b"code"))
    other, its_root = pod("second")
    assert other.bring(_engine())
    assert not (tmp_path / "escaped").exists()
    assert _files(its_root) == {}


def test_what_is_too_large_is_neither_kept_nor_brought(pod, claim, monkeypatch, caplog):
    store, root = pod("first")
    _compiles(store, root, "one")
    monkeypatch.setattr(compiled, "_MOST_BYTES", 3)
    other, its_root = pod("second")
    brought = other.bring(_engine())
    assert brought
    assert _files(its_root) == {}
    _write(its_root, "two")
    before = [path.read_bytes() for path in claim.iterdir()]
    brought.keep()
    assert [path.read_bytes() for path in claim.iterdir()] == before
    assert "is not kept: 4 bytes, of 3" in caplog.text


def test_a_claim_that_cannot_be_written_to_costs_nothing_but_a_line(pod, claim, caplog):
    store, root = pod("first")
    claim.write_text("no folder")
    _compiles(store, root, "one")
    assert "what was compiled is not kept" in caplog.text


def test_what_nobody_has_used_for_a_month_goes_and_so_does_what_was_never_finished(pod, claim):
    store, root = pod("first")
    _compiles(store, root, "one")
    (used,) = claim.iterdir()
    old, young, torn = claim / "old.tar", claim / "young.tar", claim / "a.tar.1-2.part"
    foreign = claim / "README"
    for path in (old, young, torn, foreign):
        path.write_text("")
    month = time.time() - 31 * 24 * 3600
    for path in (old, torn, foreign, used):
        os.utime(path, (month, month))
    _compiles(store, root, "two")
    assert {path.name for path in claim.iterdir()} == {used.name, "young.tar", "README"}


def test_where_nobody_knows_what_is_compiled_for_nothing_is_kept(claim, tmp_path, monkeypatch):
    def silent() -> str:
        raise CardsUnreadable("nvidia-smi: no such file")

    monkeypatch.setattr(cards, "kinds", silent)
    config = CompiledConfig(folder=str(claim), image=IMAGE)
    for device in ("cuda", "rocm"):
        assert Compiled(config, device, tmp_path).bring(_engine(device=device)) is None


def test_the_cache_is_where_the_engine_has_it():
    assert compiled.cache_root({"HOME": "/home"}) == Path("/home/.cache")
    assert compiled.cache_root({"HOME": "/home", "XDG_CACHE_HOME": "/cache"}) == Path("/cache")
    assert compiled.of(None, "cpu", {}) is None
