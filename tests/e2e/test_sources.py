"""A model from a claim: the files are read where they lie, and never written."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.cluster import folders
from dev import standin
from dev.installed import Berth
from standins import tiny_model

NAMESPACE = "berth-e2e-sources"
CLAIM = "models"


@pytest.fixture
def claim(berth: Berth, standins: None, tmp_path: Path) -> Iterator[str]:
    """A claim on a folder of this node, with the tiny model in a folder of it."""
    folder = tmp_path / "disk" / "tiny"
    folder.mkdir(parents=True)
    for name, content in tiny_model.files().items():
        (folder / name).write_bytes(content)
    with berth.namespace(NAMESPACE):
        folders.claim(berth, NAMESPACE, CLAIM, folder.parent)
        try:
            yield f"pvc://{CLAIM}/tiny"
        finally:
            berth.kubectl("delete", "mdep", "--all", "-n", NAMESPACE, "--wait")
            folders.release(berth, NAMESPACE, CLAIM)


def test_a_model_in_a_claim_is_served(berth: Berth, claim: str) -> None:
    berth.apply(standin.model(NAMESPACE, "claimed", claim))
    status = berth.wait(
        "claimed", lambda s: s.get("phase") == "Serving", seconds=120, namespace=NAMESPACE
    )
    assert status["model"]["commit"].startswith("sha256:")
