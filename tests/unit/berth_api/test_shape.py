import pytest
from pydantic import ValidationError

from berth_api.shape import MOST_BYTES, ShapeReport


@pytest.mark.parametrize("count", [-1, MOST_BYTES + 1, 10**350])
@pytest.mark.parametrize(
    "field",
    [
        lambda count: {"tensorBytes": {"BF16": count}},
        lambda count: {"parts": {"linear": {"BF16": count}}},
        lambda count: {"tensorCount": count},
        lambda count: {"fileBytes": count},
    ],
)
def test_a_count_that_cannot_be_is_refused(field, count):
    with pytest.raises(ValidationError):
        ShapeReport.model_validate(field(count))
    assert ShapeReport.model_validate(field(MOST_BYTES))
