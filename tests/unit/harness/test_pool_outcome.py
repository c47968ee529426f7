from pool_outcome import Kill, Outcome, Through

from bench.cluster.traffic import Ask, End, Result

ASK = Ask("smol", "Say one.", 1, stream=True)
KILL = Kill("gateway-0", at=110.0, ready_at=113.0)


def ended(end: End, at: float, total: float = 1.0) -> Result:
    return Result(ASK, end, at, 0.5 if end is End.WHOLE else None, total)


def lost(*results: Result, gateway: str = "gateway-0") -> int:
    return len(Outcome([Through(gateway, 100.0, results)], [KILL]).lost())


def test_a_request_that_was_on_a_gateway_when_it_was_killed_is_not_lost() -> None:
    assert lost(ended(End.TOLD, at=9.5), ended(End.UNREACHABLE, at=12.9)) == 0


def test_one_that_ended_before_the_kill_or_came_after_the_return_is_lost() -> None:
    assert lost(ended(End.REFUSED, at=8.9), ended(End.TRUNCATED, at=13.1)) == 2


def test_one_on_the_other_gateway_is_lost() -> None:
    assert lost(ended(End.UNREACHABLE, at=11.0), gateway="gateway-1") == 1


def test_waits_are_those_of_answers() -> None:
    found = Outcome(
        [Through("gateway-0", 100.0, [ended(End.WHOLE, 1.0), ended(End.TOLD, 9.5)])], [KILL]
    )
    assert found.waits() == [0.5]
