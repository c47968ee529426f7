"""A real cluster with Berth installed: the one that is given by name, or one of the tests' own.

`BERTH_TEST_KUBECONFIG` gives one, with `BERTH_URL` and `BERTH_API_KEY` (`dev/env` prints all three
for the cluster of `make up`). Otherwise the tests start the developer's cluster and stop it again.
A plugin of every test folder, so that one run of several shares one cluster.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev import binaries, cluster, demo, environment, installation, places, standin
from dev.__main__ import load_images
from dev.installed import Berth
from dev.kubectl import Kubectl

MODEL = "smollm2"
# From nothing: image copied, weights loaded, one token generated, on two busy cores.
SERVING_SECONDS = 600


@pytest.fixture(scope="session")
def berth() -> Iterator[Berth]:
    given = os.environ.get("BERTH_TEST_KUBECONFIG")
    if given:
        kubectl = Kubectl(binaries.path("kubectl"), Path(given))
        audit = Path(given).with_name("audit.log")
        yield Berth(
            kubectl,
            os.environ["BERTH_URL"],
            os.environ["BERTH_API_KEY"],
            audit if audit.exists() else None,
        )
        return
    yield from _own()


def _own() -> Iterator[Berth]:
    here = cluster.current()
    if here.running():
        pytest.fail(
            "a cluster of `make up` is running: give it to the tests by name "
            '(eval "$(dev/env)"; BERTH_TEST_KUBECONFIG=$KUBECONFIG), or stop it with `make down`'
        )
    cluster.up()
    try:
        load_images(here)
        installation.install(here)
        here.kubectl("delete", "modeldeployment", MODEL, "--ignore-not-found", "--wait")
        here.kubectl("apply", "-f", str(demo.manifest()))
        yield Berth(
            here.kubectl,
            environment.url(here),
            environment.api_key(here),
            places.state_dir() / "audit.log",
        )
    finally:
        here.stop()


@pytest.fixture(scope="session")
def model(berth: Berth) -> str:
    """The demo's model, serving on real vLLM."""
    berth.wait(MODEL, lambda status: status.get("phase") == "Serving", seconds=SERVING_SECONDS)
    return MODEL


@pytest.fixture(scope="session")
def standins(berth: Berth) -> None:
    standin.install(berth)
