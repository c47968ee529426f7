"""docs/upgrades.md names what is there, by the names and numbers that the code has."""

import re
from pathlib import Path

import releases
import yaml

from berth_api import names
from berth_operator.cluster import learned

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "upgrades.md").read_text(encoding="utf-8")
VALUES = yaml.safe_load((ROOT / "charts/berth/values.yaml").read_text(encoding="utf-8"))


def test_what_stays_is_named_as_the_operator_names_it() -> None:
    stays = PAGE.partition("| goes | stays |")[2].partition("\n\n")[0]
    for name in (
        names.SECRET_ENGINE_MASTER,
        names.SECRET_API_KEYS,
        names.SECRET_FIRST_API_KEY,
        names.LEASE_NAME,
        learned.NAME,
        names.engine_key_secret("<model>"),
        f"{names.engine_service('<model>')}.<namespace>.svc:{names.PORT_ENGINE}",
    ):
        assert f"`{name}`" in stays


def test_a_stream_has_as_long_as_the_chart_says() -> None:
    assert f"`gateway.drainSeconds` ({VALUES['gateway']['drainSeconds']})" in PAGE


def test_servers_are_understood_for_as_long_as_they_are_tested() -> None:
    assert releases.MOST_VERSIONS_BACK == 2
    assert "the two releases before" in PAGE


def test_every_link_leads_to_a_page() -> None:
    links = re.findall(r"\]\(([^)#]+)", PAGE)
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []
