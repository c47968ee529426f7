"""Kubernetes' bounds on names and labels, at the longest name that Berth takes."""

import re

import pytest

from berth_api import names

LONGEST = "a" * names.MAX_NAME_LENGTH
HASH = "1234567890"  # as long as any that Berth makes
LABEL_VALUE = 63  # characters; a Job's name becomes one
OBJECT_NAME = 253

LABELS = [value for name, value in vars(names).items() if name.startswith(("LABEL_", "ANNOTATION"))]


@pytest.mark.parametrize("label", LABELS)
def test_a_label_is_one_that_kubernetes_takes(label):
    prefix, _, name = label.rpartition("/")
    assert len(prefix) <= OBJECT_NAME
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", name)
    assert len(name) <= LABEL_VALUE


def test_no_two_labels_are_spelt_alike():
    assert len(set(LABELS)) == len(LABELS)


@pytest.mark.parametrize(
    "name",
    [
        names.shape_job(LONGEST, HASH),
        names.fetch_job(LONGEST, HASH),
        names.engine_service(LONGEST),
        names.revision_name(LONGEST, HASH),
        names.pool_revision(LONGEST, HASH),
        names.pool_name(LONGEST),
    ],
)
def test_what_becomes_a_labels_value_fits_at_the_longest_name(name):
    assert len(name) <= LABEL_VALUE


def test_a_pool_and_a_model_of_one_name_own_nothing_of_one_name():
    of_model = {
        names.engine_service("a"),
        names.engine_key_secret("a"),
        names.disruption_budget("a"),
        names.revision_name("a", HASH),
        names.model_slice("a"),
    }
    of_pool = {names.pool_name("a"), names.pool_key_secret("a"), names.pool_revision("a", HASH)}
    assert not of_model & of_pool


def test_an_engines_identity_differs_from_every_models_uid():
    assert names.pool_engine("6f1c", "a1b2") == "6f1c/a1b2"
