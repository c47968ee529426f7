from berth_operator.cluster.packing import pack, unpack


def test_an_object_comes_back_as_it_was() -> None:
    obj = {
        "metadata": {"name": "smol", "labels": {"größe": "5"}},
        "spec": {"replicas": 0, "x": [1.5]},
    }
    assert unpack(pack(obj)) == obj


def test_a_pod_template_s_worth_of_likeness_packs_to_a_fraction() -> None:
    probe = {"httpGet": {"path": "/readyz", "port": "status"}, "periodSeconds": 1}
    obj = {"containers": [{"name": f"c{n}", "readinessProbe": probe} for n in range(50)]}
    assert len(pack(obj)) < 700


def test_what_is_in_use_is_parsed_once() -> None:
    packed = pack({"a": 1})
    assert unpack(packed) is unpack(bytes(packed))
