import pytest

from berth_operator.core.kubernetes import absent, container_port

PORTS = [{"name": "http", "containerPort": 8080}, {"containerPort": 9000}]


@pytest.mark.parametrize(("name", "found"), [("http", 8080), ("management", 8081)])
def test_a_port_is_known_by_its_name_and_is_the_usual_one_where_none_has_it(name, found):
    pod = {"spec": {"containers": [{"name": "aside"}, {"name": "gateway", "ports": PORTS}]}}
    assert container_port(pod, name, 8081) == found


def test_what_is_there_by_its_name_is_not_made_again():
    old, new = {"metadata": {"name": "a-1"}}, {"metadata": {"name": "a-2"}}
    assert absent([old, new], [old]) == [new]
    assert absent([], [old]) == []
