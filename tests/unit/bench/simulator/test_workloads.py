import json
import random

import pytest

from bench.simulator import workloads


@pytest.fixture
def rows():
    return tuple(workloads.Row(float(i), 100 + i, 10) for i in range(100))


def test_both_kinds_of_trace_are_read(tmp_path):
    table = tmp_path / "one.csv"
    table.write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        "2023-11-16 18:15:46.6805900,374,44\n"
        "2023-11-16 18:15:50.9951690,396,109\n"
    )
    assert [(round(r.at, 2), r.prompt, r.answer) for r in workloads.read(table)] == [
        (0.0, 374, 44),
        (4.31, 396, 109),
    ]
    lines = tmp_path / "two.jsonl"
    lines.write_text(json.dumps({"timestamp": 3000, "input_length": 7, "output_length": 3}))
    assert workloads.read(lines) == (workloads.Row(0.0, 7, 3),)


def test_a_replay_has_the_whole_trace_after_the_warm_up(rows):
    requests = workloads.replay(rows, 3, random.Random(4))
    measured = [r for r in requests if r.arrived >= workloads.WARM_SECONDS]
    assert len(measured) == pytest.approx(300, abs=9)
    assert requests == sorted(requests, key=lambda r: r.arrived)


def test_the_same_seed_draws_the_same(rows):
    drawn = [workloads.flash(random.Random(2), rows) for _ in range(2)]
    assert len({tuple((r.arrived, r.prompt) for r in one) for one in drawn}) == 1


@pytest.mark.parametrize(
    ("shape", "times"), [(workloads.step, 5), (workloads.ramp, 5), (workloads.flash, 8)]
)
def test_a_shape_rises_to_so_many_times_its_base(rows, shape, times):
    requests = shape(random.Random(7), rows)
    minutes = [0] * 70
    for request in requests:
        minutes[int(request.arrived // 60)] += 1
    base = sum(minutes[:15]) / 15
    assert base == pytest.approx(60 * workloads.BASE_RATE, rel=0.15)
    assert max(minutes) == pytest.approx(times * base, rel=0.2)
