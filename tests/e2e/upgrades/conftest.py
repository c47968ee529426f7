"""The release before this one, with its own control image, on the cluster of the other tests."""

import dataclasses
from collections.abc import Iterator

import pytest
import releases
from e2e.upgrades.administrator import CONTROL, PREVIOUS_CONTROL, Administrator
from releases import Release

from dev import cluster, images
from dev.installed import RELEASE, Berth


@pytest.fixture(scope="module")
def administrator(
    berth: Berth, standins: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Administrator]:
    """Whatever he does, today's release is as it was found afterwards."""
    values = tmp_path_factory.mktemp("values") / "values.yaml"
    found = Administrator(berth, values)
    values.write_text(found.helm("get", "values", RELEASE, "--output=yaml"), encoding="utf-8")
    yield found
    found.restore()


@pytest.fixture(scope="module")
def previous(berth: Berth, tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Its control image is on the node."""
    release = releases.extract(releases.PREVIOUS[0], tmp_path_factory.mktemp("previous"))
    today, here = images.control(), cluster.current()
    image = dataclasses.replace(
        today,
        reference=today.reference.replace(CONTROL, PREVIOUS_CONTROL),
        dockerfile=release.tree / "Dockerfile",
        context=release.tree,
    )
    if here.builder is None:
        pytest.fail("the previous release's image cannot be built for a cluster that was given")
    images.build(here.builder, image)
    here.load(image)
    return release
