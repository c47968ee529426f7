import pytest

from berth_operator.cluster import kinds
from berth_operator.errors import BerthError


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (kinds.POD.path(), "/api/v1/pods"),
        (kinds.NODE.path(None, "n1"), "/api/v1/nodes/n1"),
        (kinds.DEPLOYMENT.path("team", "a"), "/apis/apps/v1/namespaces/team/deployments/a"),
        (
            kinds.MODEL.path("team", "a", "status"),
            "/apis/berth.dev/v1alpha1/namespaces/team/modeldeployments/a/status",
        ),
    ],
)
def test_paths_are_the_api_servers(path: str, expected: str) -> None:
    assert path == expected


def test_secrets_are_never_watched() -> None:
    assert kinds.SECRET not in {*kinds.WATCHED, *kinds.POOL_OWNED}


def test_a_kind_that_the_operator_has_no_rights_to_is_an_error() -> None:
    with pytest.raises(BerthError, match="no business with v1 Namespace"):
        kinds.of({"apiVersion": "v1", "kind": "Namespace"})


def test_without_nodes_all_that_is_watched_is_in_namespaces() -> None:
    assert kinds.handled(nodes=True) == kinds.HANDLED
    assert all(kind.namespaced for kind in kinds.handled(nodes=False))
    assert set(kinds.HANDLED) - set(kinds.handled(nodes=False)) == {kinds.NODE}
