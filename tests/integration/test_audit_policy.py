"""What the audit log of a developer's cluster has: the rights of Berth's accounts are read off it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from operator_process import account_kubeconfig, chart_rights
from rights import Right, needed

from dev import progress
from dev.controlplane import ControlPlane
from dev.installed import SYSTEM
from dev.kubectl import Kubectl

LOGGED_SECONDS = 10.0  # the log is written behind the answer
OPERATOR = "berth-operator"


@pytest.fixture
def operator(control_plane: ControlPlane, tmp_path: Path) -> Iterator[Kubectl]:
    """A client with the operator's account and rights."""
    admin = control_plane.kubectl
    admin("create", "namespace", SYSTEM)
    admin.apply(*chart_rights(SYSTEM))
    yield Kubectl(admin.program, account_kubeconfig(admin, SYSTEM, tmp_path))
    admin("delete", "namespace", SYSTEM, "--wait=false")


def test_what_berths_accounts_read_is_logged_and_what_others_read_is_not(
    control_plane: ControlPlane, operator: Kubectl
) -> None:
    started = datetime.now(UTC)
    control_plane.kubectl("get", "configmaps", "--namespace", SYSTEM)
    operator("get", "deployments", "--namespace", SYSTEM)

    def seen() -> set[Right]:
        with control_plane.audit_log.open(encoding="utf-8") as log:
            return set(needed(log, SYSTEM, started))

    wanted = Right(OPERATOR, SYSTEM, "apps/deployments", "list")
    progress.wait_for("the read", lambda: wanted in seen(), seconds=LOGGED_SECONDS)
    text = control_plane.audit_log.read_text()
    assert '"verb":"list","user":{"username":"berth-dev-admin"' not in text
