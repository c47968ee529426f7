"""What crosses from the Job that reads adapters, and that it fits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_api.adapters import AdapterReport, AdaptersReport, together

MODULES = dict.fromkeys(
    ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"), (14336, 14336)
)


def report(**changes):
    known = {"commit": "f" * 40, "rank": 512, "fileBytes": 987_654_321, "modules": MODULES}
    return AdapterReport(**{"source": "hf://a/b"} | known | changes)


reports = st.lists(
    st.builds(
        report,
        commit=st.text(max_size=40),
        rank=st.integers(0, 512),
        base=st.sampled_from(["", "a/b", "c/d"]),
        modules=st.dictionaries(
            st.sampled_from(["a", "b"]), st.tuples(st.integers(0, 9), st.integers(0, 9))
        ),
        extras=st.dictionaries(st.sampled_from(["use_dora"]), st.just("True")),
    ),
    max_size=5,
)


@given(reports)
def test_what_was_put_together_comes_apart_as_it_was(given_reports):
    crossed = AdaptersReport.model_validate_json(together(given_reports).model_dump_json())
    assert list(crossed.reports([one.source for one in given_reports])) == given_reports


def test_modules_that_adapters_have_in_common_cross_once():
    found = together([report(), report(rank=8), report(modules={"q_proj": (1, 1)})])
    assert [row.modules for row in found.rows] == [0, 0, 1]
    assert len(found.modules) == 2


@pytest.mark.parametrize("sources", [[], ["hf://a/b", "hf://a/c"]])
def test_an_answer_of_others_than_were_asked_for_is_none(sources):
    with pytest.raises(ValueError, match="argument"):
        together([report()]).reports(sources)


def test_an_answer_that_names_modules_that_it_lacks_is_none():
    told = AdaptersReport.model_validate(
        {"rows": [{"commit": "c", "rank": 1, "fileBytes": 1, "modules": 7}]}
    )
    with pytest.raises(ValueError, match="lacks"):
        told.reports(["hf://a/b"])
