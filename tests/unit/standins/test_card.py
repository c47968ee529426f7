import json
import os
import subprocess
import sys

import pytest

from berth_server import cards as driver
from standins.card import Cards, visible

GIB = 2**30


@pytest.fixture
def cards(tmp_path):
    found = Cards(tmp_path / "cards")
    found.write([16 * GIB, 8 * GIB])
    return found


def test_what_is_taken_is_not_free(cards):
    assert cards.take(0, 10 * GIB) is None
    assert cards.memory() == [(16 * GIB, 6 * GIB), (8 * GIB, 8 * GIB)]
    assert cards.refused == 0
    assert cards.take(0, 7 * GIB) == (16 * GIB, 6 * GIB)
    assert cards.refused == 1


def taken_by_another(cards, kept: bool) -> None:
    script = f"from standins.card import Cards\nfrom pathlib import Path\nCards(Path({str(cards.path)!r})).take(0, {GIB}, {kept})"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_process_that_has_ended_has_given_back_what_is_not_kept(cards):
    taken_by_another(cards, kept=False)
    assert cards.memory()[0] == (16 * GIB, 16 * GIB)
    taken_by_another(cards, kept=True)
    assert cards.memory()[0] == (16 * GIB, 15 * GIB)
    cards.give_back()
    assert cards.memory()[0] == (16 * GIB, 16 * GIB)


def test_whoever_has_ended_is_forgotten_before_his_process_id_comes_again(cards):
    taken_by_another(cards, kept=False)
    assert cards.take(0, GIB) is None
    assert [row[0] for row in json.loads(cards.path.read_text())["used"]] == [os.getpid()]


def test_it_is_said_as_the_drivers_tool_says_it(cards):
    said = subprocess.run(
        [sys.executable, "-m", "standins.card"],
        env={"STANDIN_CARDS": str(cards.path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert driver.parse(said)[1] == driver.Memory(8 * GIB, 8 * GIB)


def test_an_engine_sees_the_cards_that_it_is_told():
    assert visible({}) == [0]
    assert visible({"CUDA_VISIBLE_DEVICES": "1,3"}) == [1, 3]
