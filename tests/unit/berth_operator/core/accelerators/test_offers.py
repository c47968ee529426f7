"""Which accelerators a model may be planned on, from profiles and nodes, in order; or why not."""

import time
from dataclasses import replace
from typing import Any

import builders
import gpu_nodes
import pytest
from gpu_nodes import GpuNode
from hypothesis import given
from hypothesis import strategies as st

from berth_api.spec import Spec
from berth_operator.core.accelerators import cards
from berth_operator.core.accelerators.offer import Offer
from berth_operator.core.accelerators.offers import MOST_KINDS, Found, NoOffer, offers

MIB = 2**20
GIB = 2**30
PLAIN = {"name": "nvidia", "engineProfile": "vllm", "resource": "nvidia.com/gpu"}
CPU = {"name": "cpu", "engineProfile": "vllm-cpu", "memory": "8Gi"}


def spec(*accelerators: dict[str, Any], **fields: Any) -> Spec:
    given = {"model": {"source": "hf://a/b"}, "accelerators": list(accelerators)}
    return Spec.model_validate(given | fields)


def found(*nodes: GpuNode, profiles: list[dict[str, Any]], wanted: Spec | None = None) -> Found:
    settings = builders.configured(acceleratorProfiles=profiles)
    return offers(settings, tuple(node.seen() for node in nodes), wanted or spec())


def offered(*nodes: GpuNode, **given: Any) -> list[Offer]:
    all_of_them = found(*nodes, **given)
    assert not [one for one in all_of_them if isinstance(one, NoOffer)]
    return [one for one in all_of_them if isinstance(one, Offer)]


def refused(*nodes: GpuNode, **given: Any) -> NoOffer:
    (why,) = found(*nodes, **given)
    assert isinstance(why, NoOffer)
    return why


def by_label(mebibytes: int) -> int:
    return mebibytes * MIB - cards.DRIVER_BYTES


def test_cards_and_memory_are_those_of_the_nodes() -> None:
    (offer,) = offered(gpu_nodes.h100(), profiles=[PLAIN])
    assert (offer.memory_bytes, offer.cards_per_node) == (by_label(gpu_nodes.H100), 8)
    assert (offer.nodes, offer.sliced, offer.tenants) == (1, False, 1)
    assert offer.engine.name == "vllm"


def test_the_largest_node_of_a_kind_says_how_many_cards_one_has() -> None:
    nodes = (gpu_nodes.h100("a", 4), gpu_nodes.h100("b", 8), gpu_nodes.h100("c", 2))
    (offer,) = offered(*nodes, profiles=[PLAIN])
    assert (offer.cards_per_node, offer.nodes) == (8, 3)


def test_nodes_of_one_kind_need_no_further_selector() -> None:
    selector = {"nvidia.com/gpu.product": "NVIDIA-L4"}
    nodes = (gpu_nodes.l4(), gpu_nodes.h100())
    (offer,) = offered(*nodes, profiles=[PLAIN | {"nodeSelector": selector}])
    assert offer.profile.node_selector == selector
    assert offer.memory_bytes == by_label(gpu_nodes.L4)


def test_nodes_of_several_kinds_are_offers_of_their_own_the_smallest_card_first() -> None:
    nodes = (gpu_nodes.h100(), gpu_nodes.mig_single(), gpu_nodes.l4(), gpu_nodes.l40s())
    several = offered(*nodes, profiles=[PLAIN])
    sizes = [(offer.memory_bytes, offer.cards_per_node) for offer in several]
    assert sizes == [
        (gpu_nodes.MIG_1G_10GB * MIB, 1),
        (by_label(gpu_nodes.L4), 1),
        (by_label(gpu_nodes.L40S), 4),
        (by_label(gpu_nodes.H100), 8),
    ]
    assert {offer.profile.name for offer in several} == {"nvidia"}


def test_pods_of_an_offer_go_to_no_node_of_another_kind() -> None:
    nodes = (
        gpu_nodes.h100(),
        gpu_nodes.l40s(),
        gpu_nodes.time_sliced(),
        gpu_nodes.mig_single(),
        gpu_nodes.l4(),
    )
    for offer in offered(*nodes, profiles=[PLAIN]):
        held_to = offer.profile.node_selector.items()
        assert sum(held_to <= node.labels.items() for node in nodes) == 1


def test_nodes_that_say_no_memory_are_kept_clear_of() -> None:
    silent = GpuNode("silent", {}, {"nvidia.com/gpu": 8})
    (offer,) = offered(silent, gpu_nodes.l40s(), profiles=[PLAIN])
    assert offer.memory_bytes == by_label(gpu_nodes.L40S)
    assert offer.profile.node_selector.items() <= gpu_nodes.l40s().labels.items()
    assert offer.profile.node_selector


def test_nodes_that_say_no_memory_have_what_the_profile_declares() -> None:
    silent = GpuNode("silent", {}, {"nvidia.com/gpu": 4})
    (offer,) = offered(silent, profiles=[PLAIN | {"memory": "80Gi"}])
    assert offer.memory_bytes == cards.declared_bytes(offer.profile)
    assert (offer.cards_per_node, offer.nodes) == (4, 1)


def test_a_slice_is_one_card_however_many_a_node_has() -> None:
    slices = {"name": "slice", "engineProfile": "vllm", "resource": "nvidia.com/mig-3g.40gb"}
    nodes = (gpu_nodes.mig_mixed(),)
    (offer,) = offered(*nodes, profiles=[slices])
    assert (offer.cards_per_node, offer.sliced) == (1, True)
    assert offer.memory_bytes == gpu_nodes.MIG_3G_40GB * MIB


def test_tenants_of_a_time_sliced_card_are_counted_and_get_no_second_card() -> None:
    (offer,) = offered(gpu_nodes.time_sliced(pods=4), profiles=[PLAIN])
    assert (offer.cards_per_node, offer.sliced, offer.tenants) == (1, True, 4)


def test_a_pool_at_zero_nodes_is_what_it_is_declared_as() -> None:
    declared = PLAIN | {"memory": "80Gi", "gpusPerNode": 8}
    (offer,) = offered(profiles=[declared])
    assert (offer.cards_per_node, offer.nodes, offer.sliced) == (8, 0, False)
    assert 78 * GIB < offer.memory_bytes < 79.2 * GIB
    slices = {"resource": "nvidia.com/mig-3g.40gb", "memory": "40Gi", "gpusPerNode": 16}
    (offer,) = offered(profiles=[PLAIN | slices])
    assert (offer.cards_per_node, offer.sliced) == (1, True)
    assert offer.memory_bytes <= gpu_nodes.MIG_3G_40GB * MIB


def test_what_is_declared_never_makes_a_card_larger_than_it_says() -> None:
    small = PLAIN | {"memory": "20Gi", "gpusPerNode": 8}
    (offer,) = offered(gpu_nodes.h100(), profiles=[small])
    assert offer.memory_bytes == 20 * GIB
    large = PLAIN | {"memory": "80Gi", "gpusPerNode": 8}
    (offer,) = offered(gpu_nodes.l40s(), profiles=[large])
    assert offer.memory_bytes == by_label(gpu_nodes.L40S)
    assert offer.cards_per_node == 8


LACKING = {
    "no node": ((), PLAIN, "no node offers nvidia.com/gpu", "declare memory and gpusPerNode"),
    "cards without labels": (
        (GpuNode("silent", {}, {"nvidia.com/gpu": 8}),),
        PLAIN,
        "no node says how much memory its nvidia.com/gpu has",
        "GPU feature discovery",
    ),
    "memory declared, and no number of cards": (
        (),
        PLAIN | {"memory": "80Gi"},
        "no node offers nvidia.com/gpu",
        "gpusPerNode",
    ),
    "labels, and no card": (
        (GpuNode("broken", gpu_nodes.h100().labels, {"nvidia.com/gpu": 0}),),
        PLAIN,
        "no node offers nvidia.com/gpu",
        "add a node",
    ),
}


@pytest.mark.parametrize(("nodes", "profile", "told", "fix"), LACKING.values(), ids=LACKING)
def test_what_cannot_be_planned_for_says_what_is_missing(
    nodes: tuple[GpuNode, ...], profile: dict[str, Any], told: str, fix: str
) -> None:
    why = refused(*nodes, profiles=[profile])
    assert (why.accelerator, why.reason) == ("nvidia", "InsufficientGPU")
    assert told in why.message
    assert fix in why.fix


def test_every_wanted_entry_is_an_offer_of_its_own_or_says_why_not() -> None:
    profiles = [PLAIN, CPU, PLAIN | {"name": "amd", "resource": "amd.com/gpu"}]
    wanted = spec(
        {"profile": "amd"},
        {"profile": "nvidia", "gpusPerReplica": 2},
        {"profile": "typo"},
        {"profile": "nvidia"},
        {"profile": "cpu"},
    )
    answers = found(gpu_nodes.h100(), profiles=profiles, wanted=wanted)
    offers_of = [(one.entry, one.gpus) for one in answers if isinstance(one, Offer)]
    assert offers_of == [(1, 2), (3, None), (4, None)]
    lacking = [(one.accelerator, one.reason) for one in answers if isinstance(one, NoOffer)]
    assert lacking == [("amd", "InsufficientGPU"), ("typo", "InvalidSpec")]
    assert [isinstance(one, Offer) for one in answers] == [False, True, False, True, True]


def test_a_model_that_names_no_accelerator_may_have_each_in_the_clusters_order() -> None:
    several = offered(gpu_nodes.h100(), profiles=[PLAIN, CPU])
    assert [(offer.profile.name, offer.entry) for offer in several] == [
        ("nvidia", None),
        ("cpu", None),
    ]


def test_a_pod_on_cpu_has_what_is_declared_or_what_the_largest_node_has() -> None:
    (offer,) = offered(gpu_nodes.l4(), profiles=[CPU])
    assert (offer.memory_bytes, offer.cards_per_node, offer.nodes) == (8 * GIB, 0, 1)
    undeclared = {"name": "cpu", "engineProfile": "vllm-cpu"}
    (offer,) = offered(gpu_nodes.l4(), profiles=[undeclared])
    assert offer.memory_bytes == 2 * 2**40
    assert "no node matches" in refused(profiles=[undeclared]).message


def test_an_engine_profile_of_another_device_or_none_is_refused_by_name() -> None:
    on_cpu = spec(runtime={"engineProfile": "vllm-cpu"})
    why = refused(gpu_nodes.h100(), profiles=[PLAIN], wanted=on_cpu)
    assert (why.reason, "is for cpu" in why.message) == ("InvalidSpec", True)
    unknown = spec(runtime={"engineProfile": "nope"})
    why = refused(gpu_nodes.h100(), profiles=[PLAIN], wanted=unknown)
    assert "engine profile nope does not exist" in why.message


KINDS = (gpu_nodes.h100, gpu_nodes.l40s, gpu_nodes.l4, gpu_nodes.mig_single, gpu_nodes.time_sliced)


@given(st.lists(st.sampled_from(KINDS), min_size=1, max_size=12))
def test_no_offer_is_more_than_any_node_that_its_pods_may_meet(kinds: list[Any]) -> None:
    nodes = [make(f"node-{number}") for number, make in enumerate(kinds)]
    for offer in offered(*nodes, profiles=[PLAIN]):
        selector = offer.profile.node_selector.items()
        met = [node for node in nodes if selector <= node.labels.items()]
        assert len(met) == offer.nodes
        for node in met:
            card = cards.of_node(offer.profile, node.labels)
            assert card.memory_bytes is not None
            assert card.memory_bytes >= offer.memory_bytes
            assert card.tenants == offer.tenants


def test_a_thousand_nodes_are_read_in_a_moment() -> None:
    kinds = [make(f"node-{number}").seen() for number in range(250) for make in KINDS[:4]]
    settings = builders.configured(acceleratorProfiles=[PLAIN])
    wanted = spec(*([{"profile": "nvidia"}] * 8))
    started = time.process_time()
    assert len(offers(settings, tuple(kinds), wanted)) == 8 * 4
    assert time.process_time() - started < 0.05


def many(count: int) -> list[GpuNode]:
    """Nodes each with a memory label of its own, and one more of the 20th kind."""
    labels = [{"nvidia.com/gpu.memory": str(80_000 + number)} for number in range(count)]
    nodes = [GpuNode(f"n{i}", one, {"nvidia.com/gpu": 1}) for i, one in enumerate(labels)]
    return [*nodes, GpuNode("twin", labels[min(20, count - 1)], {"nvidia.com/gpu": 1})]


def test_of_many_kinds_the_smallest_the_largest_and_the_most_numerous_are_offered() -> None:
    several = offered(*many(40), profiles=[PLAIN])
    sizes = [offer.memory_bytes for offer in several]
    assert len(sizes) == MOST_KINDS
    assert sizes == sorted(sizes)
    assert (sizes[0], sizes[-1]) == (by_label(80_000), by_label(80_039))
    assert by_label(80_020) in sizes


def test_up_to_as_many_kinds_all_are_offered() -> None:
    assert len(offered(*many(MOST_KINDS), profiles=[PLAIN])) == MOST_KINDS


def test_pods_of_each_of_many_kinds_are_held_to_it() -> None:
    several = offered(*many(40), profiles=[PLAIN])
    held_to = {offer.profile.node_selector["nvidia.com/gpu.memory"] for offer in several}
    assert len(held_to) == MOST_KINDS


def with_engine(image: str, **changes: Any) -> Any:
    engine = {"name": "vllm-cpu", "image": image, "command": ["vllm", "serve"], "device": "cpu"}
    return builders.configured(engineProfiles=[engine | changes], acceleratorProfiles=[CPU])


OLD = "vllm/vllm-openai-cpu:v0.14.0"
DIGEST = "vllm/vllm-openai-cpu@sha256:" + "0" * 64


def test_an_engine_with_known_holes_is_refused_by_name() -> None:
    (why,) = offers(with_engine(OLD), (), spec())
    assert isinstance(why, NoOffer)
    assert why.reason == "EngineVulnerable"
    assert "engine profile vllm-cpu: vLLM 0.14.0" in why.message
    assert "CVE-2026-22778" in why.message
    assert "0.19.0" in why.fix
    assert "engineProfiles.vllm-cpu" in why.fix


def test_a_user_cannot_bring_such_an_engine_into_a_profile() -> None:
    wanted = spec(runtime={"image": OLD})
    (why,) = offers(with_engine("vllm/vllm-openai-cpu:v0.32.0"), (), wanted)
    assert isinstance(why, NoOffer)
    assert f"spec.runtime.image {OLD}" in why.message


@pytest.mark.parametrize("wanted", [spec(), spec(runtime={"image": OLD})])
def test_an_administrator_can_allow_it(wanted: Spec) -> None:
    (offer,) = offers(with_engine(OLD, allowUnsupported=True), (), wanted)
    assert isinstance(offer, Offer)


def test_what_the_administrator_says_of_an_image_counts_more_than_its_tag() -> None:
    (why,) = offers(with_engine(DIGEST, version="0.18.1"), (), spec())
    assert isinstance(why, NoOffer)
    assert "vLLM 0.18.1" in why.message
    (offer,) = offers(with_engine(OLD, version="0.32.0"), (), spec())
    assert isinstance(offer, Offer)


def test_what_is_said_of_the_profiles_image_is_not_said_of_a_users() -> None:
    wanted = spec(runtime={"image": OLD})
    (why,) = offers(with_engine(DIGEST, version="0.32.0"), (), wanted)
    assert isinstance(why, NoOffer)


def test_an_image_whose_version_nobody_knows_is_left_to_the_server() -> None:
    (offer,) = offers(with_engine(DIGEST), (), spec())
    assert isinstance(offer, Offer)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"unschedulable": True}, "node h100 is cordoned"),
        (
            {"conditions": ({"type": "Ready", "status": "Unknown"},)},
            "node h100: condition Ready is Unknown",
        ),
    ],
)
def test_cards_of_nodes_that_take_no_pods_are_not_planned_for(
    change: dict[str, Any], words: str
) -> None:
    settings = builders.configured(acceleratorProfiles=[PLAIN])
    out = replace(gpu_nodes.h100().seen(), **change)
    (why,) = offers(settings, (out,), spec())
    assert isinstance(why, NoOffer)
    assert why.message == f"no node offers nvidia.com/gpu for accelerator profile nvidia; {words}"
    (offer,) = offers(settings, (out, gpu_nodes.l4().seen()), spec())
    assert isinstance(offer, Offer)
    assert offer.memory_bytes == by_label(gpu_nodes.L4)
