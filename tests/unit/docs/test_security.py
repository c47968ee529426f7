"""docs/security.md and SECURITY.md: their table, their values and the tests that they name."""

import re
from pathlib import Path

import builders
import pytest
import yaml

from berth_api.engine_versions import OLDEST, WEAKNESSES, Version, of_image, refusal

ROOT = Path(__file__).parents[3]
SETTINGS = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
THREATS = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (CVE-\S+) \| (\S*) ?\| (\S+) \| (.+) \|$", re.MULTILINE)
VALUES = re.compile(r"(?<=^```yaml\n)(.*?)(?=^```$)", re.MULTILINE | re.DOTALL)


def number(version: Version) -> str:
    return f"{version.major}.{version.minor}.{version.patch}" if version.released else ""


def test_the_table_has_every_weakness() -> None:
    expected = [(one.cve, number(one.since), number(one.fixed), one.what) for one in WEAKNESSES]
    assert ROW.findall(SETTINGS) == expected


@pytest.mark.parametrize("page", [SETTINGS, THREATS])
def test_the_oldest_version_is_named(page: str) -> None:
    assert f"{OLDEST} " in page.replace(":", " ")


def test_the_example_of_an_old_engine_is_one_and_is_allowed() -> None:
    profile = yaml.safe_load(VALUES.findall(SETTINGS)[0])["engineProfiles"]["vllm"]
    version = of_image(profile["image"])
    assert version is not None
    assert refusal(version)
    assert profile["allowUnsupported"]


def test_the_example_without_nodes_declares_enough() -> None:
    given = yaml.safe_load(VALUES.findall(SETTINGS)[1])
    settings = builders.configured(
        watchNamespaces=given["watchNamespaces"],
        readNodes=given["nodes"]["read"],
        acceleratorProfiles=given["acceleratorProfiles"],
    )
    assert not settings.read_nodes


def test_every_test_and_page_that_is_named_is_there() -> None:
    named = re.findall(r"`(tests/[^`]+\.py)`", THREATS)
    linked = re.findall(r"\]\((docs/[^)#]+)", THREATS)
    assert len(named) > len(WEAKNESSES)
    assert [one for one in (*named, *linked) if not (ROOT / one).exists()] == []
