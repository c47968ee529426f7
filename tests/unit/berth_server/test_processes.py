import os

from berth_server import processes


def process(proc, pid, session, kib, name="VLLM::Worker (0)", state="S"):
    (proc / str(pid)).mkdir()
    (proc / str(pid) / "stat").write_text(f"{pid} ({name}) {state} 1 {session} {session} 0 -1")
    rollup = f"00400000-7fff rollup\nRss:  999999 kB\nPss:  {kib} kB\nPss_Anon:  1 kB\n"
    (proc / str(pid) / "smaps_rollup").write_text(rollup)


def test_the_processes_of_one_session_are_summed(tmp_path):
    process(tmp_path, 10, session=10, kib=100)
    process(tmp_path, 11, session=10, kib=50, name="a b) (c")
    process(tmp_path, 12, session=12, kib=7)
    (tmp_path / "meminfo").write_text("")
    assert processes.resident_bytes(10, tmp_path) == 150 * 1024


def test_a_process_that_ended_meanwhile_counts_nothing(tmp_path):
    (tmp_path / "13").mkdir()
    assert processes.resident_bytes(10, tmp_path) is None


def test_our_own_session_holds_memory():
    assert processes.resident_bytes(os.getsid(0)) > 0


def test_a_zombie_holds_no_memory(tmp_path):
    process(tmp_path, 10, session=10, kib=1, state="Z")
    process(tmp_path, 11, session=10, kib=1, state="D")
    process(tmp_path, 12, session=12, kib=1)
    assert processes.alive(10, tmp_path) == [11]
    assert processes.alive(os.getsid(0))
