from pathlib import Path

from dev import host
from dev.host import Host

MOUNTS = """\
22 1 254:0 / / rw - ext4 /dev/vda rw
30 22 0:30 / /var/lib/berth-dev/kubelet/a rw - tmpfs tmpfs rw
31 30 0:31 / /var/lib/berth-dev/kubelet/a/b rw - tmpfs tmpfs rw
32 22 0:32 / /var/lib/berth-developer rw - tmpfs tmpfs rw
"""


def test_mounts_below_a_folder_and_not_beside_it() -> None:
    assert host.mounts_below(Path("/var/lib/berth-dev"), MOUNTS) == [
        "/var/lib/berth-dev/kubelet/a",
        "/var/lib/berth-dev/kubelet/a/b",
    ]


def test_kernel_parameters_return_to_what_they_were(tmp_path: Path) -> None:
    forward = tmp_path / "sys" / "net" / "ipv4" / "ip_forward"
    forward.parent.mkdir(parents=True)
    forward.write_text("0\n")
    changed = Host(tmp_path / "host.json", tmp_path / "sys")

    changed.prepare()
    assert forward.read_text() == "1"
    changed.prepare()  # a second start must not record the changed values
    changed.restore()

    assert forward.read_text() == "0\n"
    assert not changed.record.exists()
