import os
from pathlib import Path

import pytest

from dev import cluster, images
from dev.cluster import Kind, KindCluster

STAND_IN = """\
#!/bin/sh
echo "$(basename "$0") $*" >> "$CALLS"
case "$*" in
  "get clusters") cat "$CLUSTERS" ;;
  "create cluster"*) echo berth-dev > "$CLUSTERS" ;;
  "delete cluster"*) : > "$CLUSTERS" ;;
esac
"""


@pytest.mark.parametrize(
    ("environment", "docker_works", "kind_installed", "expected"),
    [
        pytest.param({"BERTH_KUBECONFIG": "/k"}, True, True, Kind.GIVEN, id="a given one first"),
        pytest.param({}, True, True, Kind.KIND, id="kind where Docker runs"),
        pytest.param({}, False, True, Kind.OWN_NODE, id="kind is no use without Docker"),
        pytest.param({}, True, False, Kind.OWN_NODE, id="Docker is no use without kind"),
        pytest.param({"BERTH_KUBECONFIG": ""}, False, False, Kind.OWN_NODE, id="empty is unset"),
    ],
)
def test_choice(
    environment: dict[str, str], docker_works: bool, kind_installed: bool, expected: Kind
) -> None:
    chosen = cluster.choose(environment, docker_works=docker_works, kind_installed=kind_installed)
    assert chosen is expected


def test_kind_is_created_once_loaded_and_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = tmp_path / "calls"
    (tmp_path / "clusters").touch()
    stand_in = tmp_path / "bin" / "kind"
    stand_in.parent.mkdir()
    stand_in.write_text(STAND_IN)
    stand_in.chmod(0o755)
    monkeypatch.setenv("CALLS", str(calls))
    monkeypatch.setenv("CLUSTERS", str(tmp_path / "clusters"))
    monkeypatch.setenv("PATH", f"{stand_in.parent}:{os.environ['PATH']}")

    kind = KindCluster(tmp_path / "state" / "kubeconfig")
    kind.prepare()
    kind.start()
    kind.start()
    kind.load(images.runtime())
    kind.stop()
    kind.stop()

    changes = [call for call in calls.read_text().splitlines() if "get clusters" not in call]
    assert changes == [
        f"kind create cluster --wait=120s --kubeconfig={kind.kubeconfig} --name=berth-dev",
        "kind load docker-image localhost/berth-runtime-cpu:dev --name=berth-dev",
        f"kind delete cluster --kubeconfig={kind.kubeconfig} --name=berth-dev",
    ]
