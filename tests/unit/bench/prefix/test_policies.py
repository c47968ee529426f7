import json
from collections import Counter

import pytest

from bench.prefix import conversations
from bench.prefix.policies import POLICIES
from berth_gateway.routing.pick import NoneLeft, NoRoom, View
from berth_gateway.routing.prefix import Memory
from berth_gateway.routing.snapshot import Endpoint

ENDPOINTS = [Endpoint(name, f"http://{name}", name) for name in ("one", "two")]


def routed(name, workload):
    """Where each turn of each conversation goes, one request at a time."""
    policy, memory, count = POLICIES[name], Memory(), 0
    found = []
    for one in workload.conversations:
        found.append([])
        for turn in range(conversations.TURNS):
            count += 1
            prompt = json.dumps(one.messages(turn, ["w1"] * turn)).encode()
            asked = policy.affinity(prompt)
            picked = policy.pick(ENDPOINTS, View(turn=count), asked, memory)
            memory.learn(asked, picked.endpoint.key)
            found[-1].append(picked.endpoint.key)
    return found


@pytest.mark.parametrize("name", ["KubeAI PrefixHash", "PrefixAware"])
def test_a_conversation_stays_where_it_began(name):
    for homes in routed(name, conversations.workload(1, opening=False)):
        assert len(set(homes)) == 1


@pytest.mark.parametrize("name", ["round-robin"])
def test_a_conversation_moves_at_every_turn(name):
    for homes in routed(name, conversations.workload(1, opening=False)):
        assert len(set(homes)) == 2


def test_a_common_template_puts_all_on_one_replica_with_kubeais_key_only():
    workload = conversations.workload(1, opening=True)
    kubeai = Counter(homes[0] for homes in routed("KubeAI PrefixHash", workload))
    ours = Counter(homes[0] for homes in routed("PrefixAware", workload))
    assert len(kubeai) == 1
    assert len(ours) == 2


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_passes_over_what_the_gateway_rules_out(name):
    policy, memory = POLICIES[name], Memory()
    asked = policy.affinity(b'[{"role": "user", "content": "hello"}]')
    picked = policy.pick(ENDPOINTS, View(failed=frozenset({"one"})), asked, memory)
    assert picked.endpoint.key == "two"
    none_left = policy.pick(ENDPOINTS, View(failed=frozenset({"one", "two"})), asked, memory)
    assert isinstance(none_left, NoneLeft)
    full = View(in_flight={"one": 1, "two": 1}, room=1)
    assert isinstance(policy.pick(ENDPOINTS, full, asked, memory), NoRoom)


def test_kubeais_policy_leaves_an_endpoint_above_its_bound():
    policy = POLICIES["KubeAI PrefixHash"]
    asked = policy.affinity(b'[{"role": "user", "content": "hello"}]')
    home = policy.pick(ENDPOINTS, View(), asked, Memory()).endpoint.key
    [other] = {"one", "two"} - {home}
    busy = View(in_flight={home: 9, other: 3})
    assert policy.pick(ENDPOINTS, busy, asked, Memory()).endpoint.key == other
