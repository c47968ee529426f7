"""JSON out of a stranger's repository, refused where building it would take gigabytes. Pure.

Python's values take up to thirty times the bytes that they are written in: a header of the allowed
length, all brackets, would fill the memory of the shape Job before anything of it is checked.
"""

import json
from typing import Any, Final

# A value needs a comma or a bracket. The largest checkpoints known have some 1.5 million in all
# their headers together; four million empty lists are 300 MB.
MAX_MARKS: Final = 4_000_000
_MARKS: Final = (b",", b"[", b"{")


def loads(text: bytes) -> Any:
    """As json.loads. ValueError for what is no JSON, too deep, or of too many values."""
    if len(text) > MAX_MARKS and sum(map(text.count, _MARKS)) > MAX_MARKS:
        raise ValueError(f"more than {MAX_MARKS} commas and brackets")
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
