from bench.simulator.engine import L4, Request
from bench.simulator.laws.oracle import BUCKET_SECONDS, Settings, plan


def burst(begin, end, rate):
    count = int((end - begin) * rate)
    return [Request(begin + i / rate, 1_000, 200) for i in range(count)]


REQUESTS = [*burst(0, 600, 1.0), *burst(600, 900, 8.0), *burst(900, 1_500, 1.0)]


def first(schedule, size):
    return next(i for i, wanted in enumerate(schedule) if wanted >= size) * BUCKET_SECONDS


def test_the_clairvoyant_asks_a_cold_start_before_the_need():
    schedule = plan(REQUESTS, L4, Settings(60.0, 0.9, 48))
    assert 500 < first(schedule, 3) <= 540


def test_without_foresight_it_asks_when_the_need_is_there():
    schedule = plan(REQUESTS, L4, Settings(60.0, 0.9, 48, ahead=False))
    assert 570 <= first(schedule, 3) <= 600


def test_a_dip_shorter_than_a_start_is_not_taken():
    dip = [*burst(0, 300, 8.0), *burst(300, 340, 1.0), *burst(340, 600, 8.0)]
    schedule = plan(dip, L4, Settings(60.0, 0.9, 48))
    assert min(schedule[: int(500 / BUCKET_SECONDS)]) >= 3
