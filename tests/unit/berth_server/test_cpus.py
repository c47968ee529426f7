import os

import pytest

from berth_server import binding, cpus

ALLOWED = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("max 100000", ALLOWED),
        ("100000 100000", 1),
        ("50000 100000", 1),  # half a CPU is still one thread
        ("99999999 100000", ALLOWED),
        ("nonsense", ALLOWED),
    ],
)
def test_the_quota_and_the_affinity_bound_the_threads(tmp_path, quota, expected):
    (tmp_path / "cpu.max").write_text(quota + "\n")
    assert cpus.available(tmp_path / "cpu.max").count == expected


def test_without_a_cgroup_the_affinity_decides(tmp_path):
    found = cpus.available(tmp_path / "cpu.max")
    assert found.count == ALLOWED
    assert set(found.ids) == os.sched_getaffinity(0)


def test_cpus_of_one_kind_are_one_kind_and_others_are_others(tmp_path):
    info = tmp_path / "cpuinfo"
    one = "model name\t: EPYC\ncpu MHz\t\t: {mhz}\nflags\t\t: fpu avx512f{more}\n"
    info.write_text(one.format(mhz=2000, more="") + "\n" + one.format(mhz=3000, more=""))
    kind = cpus.kind(info)
    assert kind == "flags\t\t: fpu avx512f\nmodel name\t: EPYC"
    info.write_text(one.format(mhz=2000, more=" amx_tile"))
    assert cpus.kind(info) != kind
    assert cpus.kind(tmp_path / "nothing") == ""


@pytest.fixture
def two_sockets(tmp_path, monkeypatch):
    """Two nodes of two cores of two threads, numbered as such machines are."""
    for cpu in range(8):
        folder = tmp_path / f"cpu{cpu}"
        (folder / "topology").mkdir(parents=True)
        (folder / f"node{cpu // 2 % 2}").mkdir()
        first = cpu % 4
        (folder / "topology" / "thread_siblings_list").write_text(f"{first},{first + 4}\n")
    monkeypatch.setattr(cpus.os, "sched_getaffinity", lambda _: set(range(8)))
    return tmp_path


def test_neighbours_on_a_node_and_a_core_stand_together(two_sockets):
    assert cpus.available(topology=two_sockets).ids == (0, 4, 1, 5, 2, 6, 3, 7)


def test_two_ranks_on_two_sockets_get_one_each(two_sockets):
    found = binding.groups(cpus.available(topology=two_sockets), 2)
    assert found == [(0, 4, 1, 5), (2, 6, 3, 7)]


def test_a_machine_that_does_not_say_where_its_cpus_are_is_taken_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(cpus.os, "sched_getaffinity", lambda _: {2, 0, 1})
    assert cpus.available(topology=tmp_path).ids == (0, 1, 2)
