from berth_operator.cluster import deletions
from berth_operator.cluster.deletions import Deletions


def test_what_was_deleted_is_remembered() -> None:
    found = Deletions()
    found.add("gone")
    assert "gone" in found
    assert "there" not in found


def test_of_many_only_the_last_are_kept() -> None:
    found = Deletions()
    most = deletions._REMEMBERED
    for number in range(most + 1):
        found.add(str(number))
    assert "0" not in found
    assert "1" in found
    assert str(most) in found
