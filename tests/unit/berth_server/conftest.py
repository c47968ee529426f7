import pytest

from standins import hub, hub_server


@pytest.fixture(scope="session")
def repositories():
    return hub.repositories()


@pytest.fixture(scope="session")
def endpoint(repositories):
    """The stand-in hub; its repositories can be changed through `repositories`."""
    with hub_server.served(repositories) as url:
        yield url
