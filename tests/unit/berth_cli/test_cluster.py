"""A cluster's profiles and nodes, read by the operator's own client."""

import builders
import pytest
import yaml
from fakes.cluster import FakeCluster

from berth_api import names
from berth_cli import cluster
from berth_cli.arguments import Cluster
from berth_cli.errors import InputError
from berth_operator.cluster import kinds

OPERATOR = {names.LABEL_NAME: names.PART_OF, names.LABEL_COMPONENT: "operator"}


class Release(FakeCluster):
    """Answers for ConfigMaps too, which the operator's own table of kinds may not hold."""

    def __init__(self, *maps, nodes=()):
        super().__init__()
        self.maps, self.nodes, self.asked = maps, nodes, []

    async def list_all(self, kind, namespace=None, *, labels="", **_):
        self.asked.append((kind.kind, namespace, labels))
        return list(self.nodes if kind == kinds.NODE else self.maps)


def config_map(config):
    return {"metadata": {"name": "x", "labels": OPERATOR}, "data": {"config.yaml": config}}


def node(name, cards):
    return {
        "metadata": {"name": name, "uid": name, "resourceVersion": "1", "labels": {"pool": "a"}},
        "status": {"allocatable": {"nvidia.com/gpu": cards}},
    }


CONFIG = yaml.safe_dump(builders.configured().model_dump(mode="json", by_alias=True))


async def test_the_releases_configuration_and_all_nodes_are_read():
    release = Release(config_map(CONFIG), nodes=[node("n1", "8"), node("n2", "4")])
    found = await cluster.fleet(release, "berth-system")
    assert [one.name for one in found.settings.accelerator_profiles] == ["cpu", "h100"]
    assert {one.name: one.allocatable["nvidia.com/gpu"] for one in found.nodes} == {
        "n1": "8",
        "n2": "4",
    }


async def test_nothing_else_is_asked_for():
    release = Release(config_map(CONFIG))
    await cluster.fleet(release, "berth-system")
    labels = "app.kubernetes.io/name=berth,app.kubernetes.io/component=operator"
    assert release.asked == [("ConfigMap", "berth-system", labels), ("Node", None, "")]


async def test_a_namespace_without_a_release_is_named():
    with pytest.raises(InputError, match="--namespace team-a: no ConfigMap of Berth's operator"):
        await cluster.fleet(Release({"metadata": {"name": "x"}}), "team-a")


def test_a_kubeconfig_that_is_not_there_is_named(tmp_path):
    path = tmp_path / "config"
    with pytest.raises(InputError, match=f"--kubeconfig {path}: there is no such file"):
        cluster.read(Cluster(path, None, "berth-system"), {})
    with pytest.raises(InputError, match=r"/.kube/config: there is no such file"):
        cluster.read(Cluster(None, None, "berth-system"), {"HOME": str(tmp_path)})


def test_a_cluster_that_does_not_answer_is_an_input_that_cannot_be_read(tmp_path):
    path = tmp_path / "config"
    path.write_text(
        yaml.safe_dump(
            {
                "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                "users": [{"name": "u", "user": {}}],
            }
        )
    )
    with pytest.raises(InputError, match=r"--cluster: .*no answer"):
        cluster.read(Cluster(path, "c", "berth-system"), {})
    with pytest.raises(InputError, match=r"--cluster: no way to the API server: .*other"):
        cluster.read(Cluster(path, "other", "berth-system"), {})
