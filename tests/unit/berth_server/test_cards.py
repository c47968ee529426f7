import pytest
from pool_orders import GIB, POOL

from berth_api.pool_server import PoolConfig
from berth_server import cards
from berth_server.cards import Memory
from berth_server.errors import CardsUnreadable, ConfigurationError
from berth_server.ledger import HOST


def test_the_drivers_tool_counts_in_mebibytes():
    found = cards.parse("0, 81559, 81004\n1, 81559, 12\n")
    assert found == {
        0: Memory(81559 * 2**20, 81004 * 2**20),
        1: Memory(81559 * 2**20, 12 * 2**20),
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "No devices were found\n",
        "0, 81559\n",
        "0, [N/A], [N/A]\n",  # a card that is cut into instances
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",
    ],
)
def test_what_is_no_table_is_an_error_that_repeats_it(text):
    with pytest.raises(CardsUnreadable, match="nvidia-smi"):
        cards.parse(text)


async def test_a_tool_that_is_not_there_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CardsUnreadable, match="nvidia-smi"):
        await cards.read()


async def test_the_tool_on_the_path_is_asked(monkeypatch, tmp_path):
    tool = tmp_path / "nvidia-smi"
    tool.write_text('#!/bin/sh\ncase "$*" in *memory.free*) echo "0, 16384, 16000" ;; esac\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert await cards.read() == {0: Memory(16 * GIB, 16000 * 2**20)}


def _says(text: str, monkeypatch, folder) -> None:
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\nprintf '{text}'\n")
    (folder / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_cards_of_one_kind_are_one_kind(monkeypatch, tmp_path):
    _says(r"0, NVIDIA H100 80GB HBM3\n1, NVIDIA H100 80GB HBM3\n", monkeypatch, tmp_path)
    assert cards.kinds() == "NVIDIA H100 80GB HBM3"


@pytest.mark.parametrize("text", ["", r"No devices were found\n", r"0, \n"])
def test_what_names_no_card_is_no_kind(monkeypatch, tmp_path, text):
    _says(text, monkeypatch, tmp_path)
    with pytest.raises(CardsUnreadable, match="nvidia-smi"):
        cards.kinds()


def config(**changes) -> PoolConfig:
    return POOL.model_copy(update=changes)


async def driver():
    return {index: Memory(16 * GIB, 15 * GIB) for index in range(2)}


async def broken():
    raise CardsUnreadable("nvidia-smi: no driver")


async def test_a_pod_has_as_many_cards_as_the_pool_says():
    assert sorted(await cards.before_any_engine(config(), driver)) == [0, 1]
    assert sorted(await cards.before_any_engine(config(cards=1), driver)) == [0]


async def test_on_cpu_the_pools_memory_is_one_card_and_no_driver_is_asked():
    found = await cards.before_any_engine(
        config(device="cpu", cards=0, memory_bytes=8 * GIB), broken
    )
    assert found == {HOST: Memory(8 * GIB, 8 * GIB)}


@pytest.mark.parametrize(
    ("changes", "asked", "said"),
    [
        ({"cards": 3}, driver, "cards 3: the driver shows 2"),
        ({"cards": 0}, driver, "cards 0"),
        ({}, broken, "cards 2: nvidia-smi: no driver"),
        ({"device": "rocm"}, driver, "device rocm: a pool needs cuda or cpu"),
        ({"device": "cpu", "cards": 0}, driver, "memoryBytes"),
    ],
)
async def test_a_pod_that_cannot_be_a_pool_says_why(changes, asked, said):
    with pytest.raises(ConfigurationError, match=said):
        await cards.before_any_engine(config(**changes), asked)
