import argparse

import pytest

from bench.gateway import __main__ as command


def test_names_are_taken_from_a_list():
    assert command._names(["a", "b", "c"])("a,c") == ["a", "c"]


def test_a_name_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(argparse.ArgumentTypeError, match="x is not in a, b"):
        command._names(["a", "b"])("a,x")
