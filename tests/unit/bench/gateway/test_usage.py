import os

import pytest

from bench.gateway import usage
from bench.gateway.usage import Clocks, Process

TICK = os.sysconf("SC_CLK_TCK")


def test_a_process_is_read_whatever_its_name():
    fields = ["S", "7", *["0"] * 9, "30", "20", "4", "6", "rest"]
    stat = f"42 (a (b) c) {' '.join(fields)}"
    assert usage.parse_process(stat) == Process(parent=7, seconds=60 / TICK)


def test_a_tree_is_the_root_and_all_below_it():
    processes = {1: Process(0, 0), 2: Process(1, 0), 3: Process(2, 0), 4: Process(1, 0)}
    assert sorted(usage.tree(processes, 2)) == [2, 3]
    assert sorted(usage.tree(processes, 1)) == [1, 2, 3, 4]
    assert usage.tree(processes, 9) == []


def test_the_machines_busy_time_leaves_out_idleness_and_interrupts():
    stat = "cpu  100 10 40 9999 50 7 8 5 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n"
    assert usage.machine_seconds(stat) == (100 + 10 + 40 + 5) / TICK


def test_what_is_not_ours_is_foreign():
    before = Clocks(at=10.0, trees={"gateway": 1.0}, ours=3.0, machine=100.0)
    after = Clocks(at=14.0, trees={"gateway": 3.0}, ours=7.0, machine=106.0)
    spent = usage.between(before, after)
    assert spent.cores("gateway") == 0.5
    assert spent.foreign_cores == 0.5


def test_clocks_that_disagree_by_a_tick_give_no_negative_share():
    before = Clocks(at=0.0, trees={"mock": 1.0}, ours=1.0, machine=5.0)
    after = Clocks(at=1.0, trees={"mock": 0.99}, ours=2.0, machine=5.9)
    spent = usage.between(before, after)
    assert (spent.cores("mock"), spent.foreign_cores) == (0.0, 0.0)


@pytest.mark.parametrize(("field", "size"), [("VmRSS", 2.048), ("VmHWM", 4.096), ("VmSwap", 0.0)])
def test_memory_is_read_in_megabytes(field, size):
    assert usage.parse_status("Name:\tx\nVmHWM:\t  4000 kB\nVmRSS:\t  2000 kB\n", field) == size
