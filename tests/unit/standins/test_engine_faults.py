from standins.engine_faults import Fate, Fates, faults


def fates(count, **knobs):
    made = Fates(faults({f"STANDIN_{name.upper()}": value for name, value in knobs.items()}))
    return [made.next() for _ in range(count)]


def test_without_knobs_nothing_happens_to_any_request():
    assert fates(50) == [Fate()] * 50


def test_the_first_requests_fail_and_the_rest_do_not():
    found = fates(4, error_first="2", error_status="503")
    assert [one.error_status for one in found] == [503, 503, None, None]


def test_the_first_connections_are_reset_and_the_rest_are_not():
    assert [one.reset for one in fates(3, reset_first="2")] == [True, True, False]


def test_a_pods_own_first_token_is_not_counted():
    found = fates(3, faults_after="1", error_first="1", error_status="500", die_at="2")
    assert [one.error_status for one in found] == [None, 500, None]
    assert [one.die for one in found] == [False, False, True]


def test_a_share_of_the_requests_fails_and_the_same_ones_each_time():
    knobs = {"error_rate": "0.3", "error_status": "429"}
    found = [one.error_status for one in fates(1000, **knobs)]
    assert 250 < found.count(429) < 350
    assert found == [one.error_status for one in fates(1000, **knobs)]


def test_one_share_does_not_change_which_requests_another_meets():
    alone = [one.cut_after for one in fates(100, cut_after="3", cut_rate="0.5")]
    both = fates(100, cut_after="3", cut_rate="0.5", garbage_rate="0.5")
    assert [one.cut_after for one in both] == alone


def test_an_engine_freezes_at_one_request_for_ever_unless_told_for_how_long():
    assert [one.freeze for one in fates(3, freeze_at="2")] == [False, True, False]
    assert faults({}).freeze_seconds == float("inf")
    assert faults({"STANDIN_FREEZE_SECONDS": "2.5"}).freeze_seconds == 2.5
