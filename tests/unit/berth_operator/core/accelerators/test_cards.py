"""What labels say of cards: the vendors' own spellings, and nothing beyond the card."""

import gpu_nodes
import pytest
from gpu_nodes import GpuNode
from hypothesis import given
from hypothesis import strategies as st

from berth_operator.core.accelerators import cards
from berth_operator.settings import AcceleratorProfile

MIB = 2**20
GIB = 2**30


def profile(resource: str = "nvidia.com/gpu", **fields: object) -> AcceleratorProfile:
    given = {"name": "x", "engineProfile": "vllm", "resource": resource} | fields
    return AcceleratorProfile.model_validate(given)


# What nvidia-smi reports in MiB, and what torch's total_memory was on such a card in GiB.
CARDS = {
    "T4": (15360, 14.56),
    "L4": (23034, 22.03),
    "L40S": (46068, 44.34),
    "A100 40 GB": (40960, 39.38),
    "A100 80 GB": (81920, 79.25),
    "H100": (81559, 79.11),
    "H200": (143771, 139.72),
    "B200": (183359, 178.35),
}


@pytest.mark.parametrize(("reported", "seen"), CARDS.values(), ids=CARDS)
def test_no_card_has_less_than_is_planned_for_it_and_none_much_more(
    reported: int, seen: float
) -> None:
    card = cards.of_node(profile(), {"nvidia.com/gpu.memory": str(reported)})
    assert card.memory_bytes is not None
    planned, truly = card.memory_bytes, int((seen + 0.005) * GIB)  # torch prints two digits
    assert planned <= truly
    assert truly - planned < 0.5 * GIB


# Declared by its name, in GiB.
NAMES = {"A100 40 GB": 40, "A100 80 GB": 80, "H100": 80, "H200": 141, "B200": 180}


@pytest.mark.parametrize(("card", "name"), NAMES.items())
def test_a_card_that_is_declared_by_its_name_is_not_overrated(card: str, name: int) -> None:
    planned = cards.declared_bytes(profile(memory=f"{name}Gi"))
    _, seen = CARDS[card]
    assert planned is not None
    assert 0.98 * seen * GIB < planned <= (seen + 0.005) * GIB


def test_what_is_declared_for_a_pod_on_cpu_is_what_it_gets() -> None:
    declared = AcceleratorProfile.model_validate(
        {"name": "cpu", "engineProfile": "vllm-cpu", "memory": "8Gi"}
    )
    assert cards.declared_bytes(declared) == 8 * GIB


WHOLE = {
    "NVIDIA": (profile(), gpu_nodes.h100(), gpu_nodes.H100 * MIB - cards.DRIVER_BYTES),
    "AMD": (profile("amd.com/gpu"), gpu_nodes.mi300x(), 192 * GIB - cards.DRIVER_BYTES),
}


@pytest.mark.parametrize(("wanted", "node", "memory"), WHOLE.values(), ids=WHOLE)
def test_a_whole_card_has_its_memory_less_the_drivers(
    wanted: AcceleratorProfile, node: GpuNode, memory: int
) -> None:
    card = cards.of_node(wanted, node.labels)
    assert (card.memory_bytes, card.sliced, card.tenants) == (memory, False, 1)


MIG = {
    "by the name of a card": (profile(), gpu_nodes.mig_single(), gpu_nodes.MIG_1G_10GB),
    "by a name of its own": (
        profile("nvidia.com/mig-3g.40gb"),
        gpu_nodes.mig_mixed(),
        gpu_nodes.MIG_3G_40GB,
    ),
}


@pytest.mark.parametrize(("wanted", "node", "mebibytes"), MIG.values(), ids=MIG)
def test_a_mig_slice_is_a_slice_with_all_the_memory_that_its_label_says(
    wanted: AcceleratorProfile, node: GpuNode, mebibytes: int
) -> None:
    card = cards.of_node(wanted, node.labels)
    assert (card.memory_bytes, card.sliced, card.tenants) == (mebibytes * MIB, True, 1)


def test_a_time_sliced_card_is_a_slice_whose_memory_its_tenants_share() -> None:
    card = cards.of_node(profile(), gpu_nodes.time_sliced(pods=4).labels)
    assert card.memory_bytes == gpu_nodes.L40S * MIB - cards.DRIVER_BYTES
    assert (card.sliced, card.tenants) == (True, 4)


def test_a_shared_resource_that_was_renamed_keeps_the_labels_of_its_old_name() -> None:
    labels = gpu_nodes.time_sliced(pods=4).labels
    renamed = cards.of_node(profile("nvidia.com/gpu.shared"), labels)
    assert renamed == cards.of_node(profile(), labels)


def test_a_partition_of_an_amd_card_is_a_slice() -> None:
    node = gpu_nodes.mi300x(partition="cpx_nps4", vram="24G")
    card = cards.of_node(profile("amd.com/gpu"), node.labels)
    assert (card.memory_bytes, card.sliced) == (24 * GIB - cards.DRIVER_BYTES, True)


def test_an_older_amd_labeller_has_the_size_in_the_labels_name() -> None:
    labels = {"beta.amd.com/gpu.vram.64G": "4", "beta.amd.com/gpu.cu-count.104": "4"}
    card = cards.of_node(profile("amd.com/gpu"), labels)
    assert card.memory_bytes == 64 * GIB - cards.DRIVER_BYTES
    assert card.selector == (("beta.amd.com/gpu.vram.64G", "4"),)


def test_a_node_whose_amd_cards_differ_counts_as_its_smallest() -> None:
    labels = {"amd.com/gpu.vram.192G": "4", "amd.com/gpu.vram.64G": "4"}
    card = cards.of_node(profile("amd.com/gpu"), labels)
    assert card.memory_bytes == 64 * GIB - cards.DRIVER_BYTES


SPELLINGS = {"81920": 80, "80G": 80, "80Gi": 80, "80GiB": 80, "81920Mi": 80, "81920MiB": 80}


@pytest.mark.parametrize(("text", "gibibytes"), SPELLINGS.items())
def test_a_label_that_a_profile_names_may_have_a_unit(text: str, gibibytes: int) -> None:
    card = cards.of_node(profile(memoryLabel="example.test/memory"), {"example.test/memory": text})
    assert card.memory_bytes == gibibytes * GIB - cards.DRIVER_BYTES


@pytest.mark.parametrize("text", ["", "unknown", "-1", "80T", "1e5", "80.5", "0"])
def test_a_label_that_is_no_size_says_nothing(text: str) -> None:
    assert cards.of_node(profile(), {"nvidia.com/gpu.memory": text}) == cards.Card(None)


def test_another_vendors_label_says_nothing_of_this_card() -> None:
    assert cards.of_node(profile(), gpu_nodes.mi300x().labels) == cards.Card(None)
    labels = gpu_nodes.h100().labels
    assert cards.of_node(profile("amd.com/gpu"), labels) == cards.Card(None)


def test_a_label_that_a_profile_names_is_read_instead_of_the_vendors() -> None:
    labels = {**gpu_nodes.h100().labels, "example.test/memory": "40960"}
    card = cards.of_node(profile(memoryLabel="example.test/memory"), labels)
    assert card.memory_bytes == 40 * GIB - cards.DRIVER_BYTES


def test_cards_that_differ_are_told_apart_by_their_labels() -> None:
    nodes = (
        gpu_nodes.h100(),
        gpu_nodes.l40s(),
        gpu_nodes.time_sliced(),
        gpu_nodes.mig_single(),
    )
    found = [cards.of_node(profile(), node.labels) for node in nodes]
    for one, card in zip(nodes, found, strict=True):
        matching = [
            other.name for other in nodes if dict(card.selector).items() <= other.labels.items()
        ]
        assert matching == [one.name]


@given(st.dictionaries(st.sampled_from(sorted(gpu_nodes.mig_mixed().labels)), st.text(max_size=8)))
def test_whatever_labels_say_it_is_read(labels: dict[str, str]) -> None:
    for resource in ("nvidia.com/gpu", "nvidia.com/mig-3g.40gb", "amd.com/gpu"):
        card = cards.of_node(profile(resource), labels)
        assert card.tenants >= 1
        assert card.memory_bytes is None or card.memory_bytes >= 0


@pytest.mark.parametrize(
    ("major", "minor", "capability"),
    [("8", "0", (8, 0)), ("12", "1", (12, 1)), ("", "", None), ("9", "x", None)],
)
def test_the_compute_capability_is_read_where_it_is_told(
    major: str, minor: str, capability: tuple[int, int] | None
) -> None:
    compute = {"nvidia.com/gpu.compute.major": major, "nvidia.com/gpu.compute.minor": minor}
    found = cards.of_node(profile(), {"nvidia.com/gpu.memory": "40960", **compute})
    assert found.capability == capability
