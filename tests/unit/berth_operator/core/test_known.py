import pytest

from berth_operator.core.known import least


@pytest.mark.parametrize(
    ("given", "found"), [((), None), ((None, None), None), ((None, 2.0, 1.0), 1.0), ((0.0, 3), 0.0)]
)
def test_what_is_not_known_is_not_the_least(given, found):
    assert least(given) == found
