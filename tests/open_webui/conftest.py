"""One site for all: Open WebUI takes half a minute to start."""

from collections.abc import Iterator

import pytest
from open_webui_site import Site, open_webui_site


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_webui_site(tmp_path_factory.mktemp("open-webui")) as running:
        yield running
