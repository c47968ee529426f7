"""Which versions of vLLM are refused, and how a version is told from an image's name."""

import itertools

import pytest

from berth_api.engine_versions import (
    OLDEST,
    WEAKNESSES,
    Version,
    of_image,
    parse,
    refusal,
    weaknesses,
)

CHART_ENGINE = Version(0, 32)


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("vllm/vllm-openai:v0.32.0", Version(0, 32)),
        ("docker.io/vllm/vllm-openai:v0.18.1-cu130", Version(0, 18, 1)),
        ("registry.example:5000/mirror/vllm-openai-rocm:0.14.0", Version(0, 14)),
        ("vllm/vllm-openai:v0.11", Version(0, 11)),
        ("vllm/vllm-openai:v0.18.0@sha256:" + "0" * 64, Version(0, 18)),
        ("rocm/vllm:rocm6.4.1_vllm_0.9.1_20250702", Version(0, 9, 1)),
        ("vllm/vllm-openai:v0.19.0.post1", Version(0, 19)),
        ("vllm/vllm-openai:v0.19.0rc2", Version(0, 19, released=False)),
        ("vllm/vllm-openai:0.19.1.dev5", Version(0, 19, 1, released=False)),
    ],
)
def test_the_tag_of_a_vllm_image_tells_its_version(image, version):
    assert of_image(image) == version


@pytest.mark.parametrize(
    "image",
    [
        "vllm/vllm-openai@sha256:" + "0" * 64,
        "vllm/vllm-openai:nightly",
        "vllm/vllm-openai",
        "nvcr.io/nvidia/vllm:25.09-py3",  # a date
        "berth-runtime-cpu:0.1.0",  # Berth's version
        "vllm.example/engine:0.1.0",
    ],
)
def test_a_version_is_not_guessed(image):
    assert of_image(image) is None


@pytest.mark.parametrize("text", ["", "latest", "v", "2026.11.1", "0." + "1" * 300])
def test_what_is_no_version_is_none(text):
    assert parse(text) is None


def test_a_pre_release_comes_before_its_release():
    assert Version(0, 18, 9) < Version(0, 19, released=False) < Version(0, 19) < Version(0, 19, 1)


@pytest.mark.parametrize(
    ("version", "cve"),
    [
        (Version(0, 14), "CVE-2026-22778"),
        (Version(0, 17, 3), "CVE-2026-27893"),
        (Version(0, 13), "CVE-2026-22807"),
        (Version(0, 8, 4), "CVE-2025-30202"),
        (Version(0, 18, 9), "CVE-2026-34755"),
        (Version(0, 6), "CVE-2026-34756"),
    ],
)
def test_a_refusal_names_the_weakness_and_the_oldest_version_that_is_run(version, cve):
    why = refusal(version)
    assert why is not None
    assert cve in {one.cve for one in weaknesses(version)}
    assert str(version) in why
    assert str(OLDEST) in why
    assert "CVE-" in why


def test_every_older_version_has_a_weakness_to_be_named_and_no_newer_one_is_refused():
    below = [Version(0, *one) for one in itertools.product(range(OLDEST.minor), range(10))]
    assert all(weaknesses(one) for one in [*below, Version(0, 19, released=False)])
    above = [Version(0, minor) for minor in range(OLDEST.minor, CHART_ENGINE.minor + 1)]
    assert [one for one in above if refusal(one)] == []


def test_a_weakness_is_listed_once_and_ends():
    names = [one.cve for one in WEAKNESSES]
    assert len(names) == len(set(names))
    assert all(one.since < one.fixed <= OLDEST for one in WEAKNESSES)
