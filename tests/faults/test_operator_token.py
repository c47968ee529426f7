"""The operator as in its pod: a service account's token in a file, which the kubelet replaces.

So its client, kopf and the API server are those of a real pod; that needs the server at
`kubernetes.default.svc:443` and the files where a pod has them, which a mount namespace gives.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from invariants import token_id
from operator_process import account_token
from operator_site import RETRIED, Site, install_definition, stopped, wait_for

from berth_operator.cluster import kinds
from dev.controlplane import ControlPlane

# The client reads its token again every minute; the kubelet replaces one when four fifths of its
# time are over, which is minutes before it ends.
REREAD_SECONDS = 65.0
# For so long an API server remembers that a token was good.
REMEMBERED_SECONDS = 12.0
SERVER_RETURN_SECONDS = 60.0
WORKS_AGAIN_SECONDS = 10.0
# kopf's watches share a session, and the first that needs the new token closes it for the others.
RE_AUTHENTICATED = r"ERROR kopf\..* Request attempt #\d+ failed; TCP closed; will re-authenticate"


@pytest.fixture(scope="module")
def plane(new_plane: Callable[[], ControlPlane]) -> Iterator[ControlPlane]:
    with replace(new_plane(), api_port=443) as running:
        install_definition(running)
        yield running


class Files:
    """What a kubelet mounts into a pod, with a token that ends with the Secret of its name."""

    def __init__(self, site: Site, folder: Path) -> None:
        self._site = site
        self.folder = folder
        folder.mkdir()
        authority = site.plane.authority.root.certificate
        (folder / "ca.crt").write_text(authority.read_text())
        (folder / "namespace").write_text(site.namespace)

    def rotate(self, secret: str) -> str:
        """Returns the new token's id."""
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": secret}}
        self._site.cluster.create(kinds.SECRET.path(self._site.namespace), body)
        token = account_token(
            self._site.kubectl,
            self._site.namespace,
            "--bound-object-kind=Secret",
            f"--bound-object-name={secret}",
        )
        fresh = self.folder / "fresh"
        fresh.write_text(token)
        fresh.rename(self.folder / "token")
        return token_id(token)

    def revoke(self, secret: str) -> None:
        self._site.cluster.delete(self._site.path(kinds.SECRET, secret))


def test_fault_11_a_token_that_is_replaced_in_time_costs_nothing(
    site: Site, tmp_path: Path
) -> None:
    files = Files(site, tmp_path / "serviceaccount")
    first = files.rotate("first")
    operator = site.start_in_pod(files.folder)
    site.create("smol")
    site.wait_until_converged("smol")
    site.audit.aliases[files.rotate("second")] = first
    time.sleep(REREAD_SECONDS)
    files.revoke("first")
    time.sleep(REMEMBERED_SECONDS)
    site.edit("smol", replicas=2)
    site.wait_until_scaled("smol", 2, seconds=WORKS_AGAIN_SECONDS)
    assert "lease not renewed" not in operator.log.read_text()
    # Watches outlive their token; after a restart of the server they need the new one.
    site.explained = [RETRIED, RE_AUTHENTICATED]
    with stopped(site.plane, "kube-apiserver"):
        pass
    site.edit_as_soon_as_taken("smol", replicas=3, seconds=SERVER_RETURN_SECONDS)
    site.wait_until_scaled("smol", 3, seconds=WORKS_AGAIN_SECONDS)
    wait_for("its lead", lambda: site.leader() is operator, seconds=WORKS_AGAIN_SECONDS)
