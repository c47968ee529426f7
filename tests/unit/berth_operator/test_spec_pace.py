from berth_operator.spec_pace import FOLLOW_SECONDS, SpecPace


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_first_change_is_followed_at_once_and_stays_so() -> None:
    clock = Clock()
    pace = SpecPace[str](clock)
    assert pace.wait_seconds("a", 1) == 0
    assert pace.wait_seconds("a", 1) == 0
    clock.now += FOLLOW_SECONDS
    assert pace.wait_seconds("a", 2) == 0


def test_of_changes_in_one_moment_the_last_is_followed_at_its_end() -> None:
    clock = Clock()
    pace = SpecPace[str](clock)
    pace.wait_seconds("a", 1)
    clock.now += 0.25
    assert pace.wait_seconds("a", 2) == FOLLOW_SECONDS - 0.25
    clock.now += 0.25
    assert pace.wait_seconds("a", 3) == FOLLOW_SECONDS - 0.5
    clock.now += FOLLOW_SECONDS - 0.5
    assert pace.wait_seconds("a", 4) == 0
    assert pace.wait_seconds("a", 5) == FOLLOW_SECONDS


def test_models_do_not_wait_for_each_other_and_a_deleted_one_is_forgotten() -> None:
    pace = SpecPace[str](Clock())
    pace.wait_seconds("a", 1)
    assert pace.wait_seconds("b", 2) == 0
    pace.forget("a")
    assert pace.wait_seconds("a", 2) == 0
