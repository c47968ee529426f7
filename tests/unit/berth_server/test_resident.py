"""Its life is in tests/faults/berth_server/test_pool_life.py, around a process."""

from berth_server import resident, variables
from berth_server.args import Command


def test_an_engine_sees_its_cards_as_the_drivers_tools_count_them():
    command = resident.seeing(Command(["vllm"], {"A": "1"}), [2, 3])
    assert command.environment == {
        "A": "1",
        variables.VISIBLE_CARDS: "2,3",
        variables.CARD_ORDER: "PCI_BUS_ID",
    }


def test_on_cpu_there_is_nothing_to_see():
    command = Command(["vllm"], {"A": "1"})
    assert resident.seeing(command, []) is command


def test_memory_that_is_not_freed_is_told_with_a_fix():
    failure = resident.not_freed("card 0 has 1.0 GiB free, not 4.0 GiB")
    assert failure.reason == "MemoryNotFreed"
    assert "card 0 has 1.0 GiB free" in failure.message
    assert "delete the pod" in failure.fix
