import os

import pytest

from berth_server import cpus

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
    assert cpus.available(tmp_path / "cpu.max") == expected


def test_without_a_cgroup_the_affinity_decides(tmp_path):
    assert cpus.available(tmp_path / "cpu.max") == ALLOWED
