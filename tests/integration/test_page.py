"""The gateway's page in a real browser: docs/web-page.md, done."""

import json
import os
import re
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import page_site
import pytest
import yaml
from browser import Browser, chromium
from cluster_client import ClusterClient
from gateway_process import GatewayProcess
from page_site import ASLEEP, GUEST, KEY, LOADING, SERVING, SMALL, SaidOperator

from berth_api.model_deployment import ModelDeployment
from berth_api.pool import PoolStatus
from berth_api.seat import find, seats
from berth_cli import ps
from berth_cli.models import Asked, Known
from dev import progress
from dev.controlplane import ControlPlane

SECONDS = 20.0
TURNS = 3  # of which a stall of the machine spoils one
BEYOND = """
    if (document.documentElement.scrollWidth <= window.innerWidth) return [];
    const beyond = (one) => one.getBoundingClientRect().right > window.innerWidth;
    return [...document.querySelectorAll("main *, header *")].filter(beyond).map((one) => one.outerHTML.slice(0, 60));
"""
PICTURES = Path(__file__).parents[2] / "docs" / "images"
TAKES_PICTURES = "BERTH_SCREENSHOTS"
LEAST_PICTURE_BYTES, MOST_PICTURE_BYTES = 20_000, 200_000  # a blank one has less
AUDIT = Path(__file__).parents[1] / "harness" / "page_audit.js"


class Page:
    """What a person does at the page, and sees."""

    def __init__(self, browser: Browser, port: int) -> None:
        self.browser = browser
        self.url = f"http://127.0.0.1:{port}/ui/"

    def open(self) -> "Page":
        self.browser.open(self.url)
        return self

    def enter(self, key: str) -> None:
        self.browser.run("document.getElementById('key').value = ''")
        self.browser.type("#key", key)
        self.browser.click("#door-form button")

    def forget(self) -> None:
        self.browser.run("sessionStorage.clear()")

    def text(self, css: str) -> str:
        found: str = self.browser.run(f"return document.querySelector({json.dumps(css)}).innerText")
        return found

    def texts(self, css: str) -> list[str]:
        script = (
            f"return [...document.querySelectorAll({json.dumps(css)})].map((one) => one.innerText)"
        )
        found: list[str] = self.browser.run(script)
        return found

    def wait(self, css: str, pattern: str, *, seconds: float = SECONDS) -> None:
        def there() -> bool:
            return any(re.search(pattern, one) for one in self.texts(css))

        try:
            progress.wait_for(f"{pattern!r} at {css}", there, seconds=seconds)
        except Exception:
            print(self.text("body"))
            raise

    def row(self, name: str) -> list[str]:
        script = """
            const rows = [...document.querySelectorAll("#models-rows tr:not(.note)")];
            const row = rows.find((one) => one.querySelector(".name").innerText === NAME);
            return [...row.cells].map((one) => one.innerText.trim());
        """
        found: list[str] = self.browser.run(script.replace("NAME", json.dumps(name)))
        return found

    def press(self, label: str) -> None:
        css = f"[aria-label='{label}']"
        progress.wait_for(css, lambda: bool(self.texts(css)), seconds=SECONDS)
        self.browser.click(css)

    def emulate(self, command: str, **parameters: Any) -> None:
        self.browser._post("goog/cdp/execute", cmd=f"Emulation.{command}", params=parameters)

    def scheme(self, name: str) -> None:
        wanted = {"prefers-color-scheme": name, "prefers-reduced-motion": "reduce"}
        features = [{"name": one, "value": value} for one, value in wanted.items()]
        self.emulate("setEmulatedMedia", features=features)

    def width(self, pixels: int, height: int = 900) -> None:
        sizes = {"width": pixels, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.emulate("setDeviceMetricsOverride", **sizes)


@pytest.fixture(scope="module")
def operator(
    control_plane: ControlPlane, definition: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SaidOperator]:
    with page_site.page_site(control_plane, tmp_path_factory.mktemp("page")) as running:
        yield running


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("chromium")) as window:
        yield window


@pytest.fixture
def page(browser: Browser, operator: SaidOperator) -> Iterator[Page]:
    """Without a key. What the browser complains of afterwards is a fault of the page."""
    found = Page(browser, operator.gateway.management_port)
    found.scheme("light")
    found.open().forget()
    found.open()
    yield found
    assert [one for one in browser.errors() if "401 (Unauthorized)" not in one] == []


@pytest.fixture
def opened(page: Page) -> Page:
    page.enter(KEY)
    page.wait("#models-rows .name", SERVING)
    return page


def test_without_a_key_it_asks_for_one_and_shows_nothing(page: Page) -> None:
    page.wait("h1", "Which key")

    assert page.text("#key-error") == ""
    assert page.browser.run("return document.getElementById('site').hidden")
    assert page.browser.run("return document.activeElement.id") == "key"


def test_a_wrong_key_is_told_and_a_right_one_after_it_opens(page: Page) -> None:
    page.enter("sk-berth-nobody")
    page.wait("#key-error", "does not know this key")

    page.enter(KEY)
    page.wait("#holder-name", "team-harbour")
    page.wait("#models-rows .name", SERVING)
    assert page.browser.run("return localStorage.length + document.cookie.length") == 0
    assert KEY not in page.browser.run("return document.documentElement.outerHTML")


def test_it_says_what_the_terminal_says(opened: Page, control_plane: ControlPlane) -> None:
    found = [_known(cr) for cr in page_site.models(ClusterClient(control_plane.kubeconfig))]
    lines = ps.as_text(found, namespaces=False, wide=False).splitlines()

    header = re.split(r" {2,}", lines[0].strip())
    assert [one.upper() for one in opened.texts("#models-table thead th")[:-1]] == header
    for line in lines[1:]:
        name, *cells = re.split(r" {2,}", line.strip())
        assert opened.row(name)[1:-1] == cells


def _known(cr: dict[str, Any]) -> Known:
    typed = ModelDeployment.model_validate(cr)
    assert typed.status is not None
    name, namespace = cr["metadata"]["name"], cr["metadata"]["namespace"]
    told = PoolStatus.model_validate(page_site.POOL_STATUS)
    known = {page_site.POOL: seats(page_site.POOL, told)}
    pool = typed.spec.pool
    seat = None if pool is None else find(pool, name, known)
    return Known(namespace, name, typed.spec, typed.status, Asked(), seat)


def test_what_is_not_serving_says_why(opened: Page) -> None:
    opened.wait("#models-rows .note", "InsufficientGPU: 0/3 nodes .* Fix: add a node")
    opened.wait("#models-rows .note", "Activating: Loading 61 %, about 25 s left")


def test_a_key_of_one_model_sees_that_one_alone(page: Page) -> None:
    page.enter(GUEST)
    page.wait("#models-rows .name", SMALL)

    assert page.texts("#models-rows .name") == page_site.GUEST_MODELS
    assert page.texts("#cards h3") == page_site.GUEST_MODELS
    assert SERVING not in page.browser.run("return document.documentElement.outerHTML")


def test_memory_is_planned_beside_measured(opened: Page) -> None:
    cards = dict(zip(opened.texts("#cards h3"), opened.texts("#cards article"), strict=True))

    assert re.search(r"2 x h100 · 79\.65 GiB each.*73\.28 GiB", cards[SERVING])
    assert re.search(r"Weights\s+15\.30 GiB\s+15\.27 GiB", cards[SERVING])
    assert re.search(r"KV cache\s+54\.80 GiB\s+55\.10 GiB", cards[SERVING])
    assert re.search(r"Free\s+6\.40 GiB\s+6\.41 GiB", cards[SERVING])
    assert "Not measured yet" in cards[LOADING]
    assert "not loaded: as it would be" in cards[ASLEEP]
    assert "hold 1.94 GiB now" in cards[SMALL]


def test_what_shares_a_card_is_shown_on_one(opened: Page) -> None:
    opened.wait("#cards h3", f"pool {page_site.POOL}")
    cards = dict(zip(opened.texts("#cards h3"), opened.texts("#cards article"), strict=True))
    shared = cards[f"pool {page_site.POOL}"]
    first, second = page_site.TOGETHER

    assert re.search(r"card 0 of \S+ · 1 x h100 · 73\.28 GiB for engines\n", shared)
    assert re.search(rf"{first}: Weights\s+5\.60 GiB\s+5\.58 GiB", shared)
    assert re.search(rf"{second}: KV cache\s+10\.60 GiB", shared)
    assert re.search(r"Free\s+41\.58 GiB\s+41\.42 GiB", shared)
    assert "not loaded: as it would be" in cards[page_site.AWAY]
    assert not cards.keys() & set(page_site.TOGETHER)


def test_a_bar_of_memory_is_to_scale(opened: Page) -> None:
    script = """
        const card = [...document.querySelectorAll("#cards article")].find((one) => one.querySelector("h3").innerText === NAME);
        const whole = card.querySelector(".track").clientWidth;
        return card.querySelector(".track [data-kind=weights]").getBoundingClientRect().width / whole;
    """
    share = opened.browser.run(script.replace("NAME", json.dumps(SERVING)))

    assert share == pytest.approx(15.3 / 79.65, abs=0.02)


def test_a_sleeping_model_is_loaded_and_unloaded(opened: Page, operator: SaidOperator) -> None:
    opened.press(f"Load {ASLEEP}")
    opened.wait("#models-rows .note", "asked for")
    opened.wait("#models-rows .phase", "Loading 43%")
    operator.may_serve.set()
    progress.wait_for("serving", lambda: opened.row(ASLEEP)[1] == "Serving", seconds=SECONDS)
    opened.press(f"Unload {ASLEEP}")
    progress.wait_for("idle", lambda: opened.row(ASLEEP)[1] == "Idle", seconds=SECONDS)


def test_what_a_request_cannot_unload_says_what_can(opened: Page) -> None:
    opened.press(f"Unload {SMALL}")
    opened.wait("#models-rows .note", "scaling.mode is Fixed: `berth unload`")


def test_one_prompt_to_two_models_side_by_side(opened: Page) -> None:
    opened.browser.run("document.getElementById('most-tokens').value = 40")
    assert opened.browser.run(
        "return [...document.querySelectorAll('.pane select')].map((one) => one.value)"
    ) == [SERVING, SMALL]
    turns = [_answered(opened) for _ in range(TURNS)]
    for fast, slow in turns:
        assert fast["Tokens"] == slow["Tokens"] == 40
        assert 0 < fast["First token"] < fast["In all"]

    def median(figure: str) -> list[float]:
        return [statistics.median(one[figure] for one in pane) for pane in zip(*turns, strict=True)]

    assert median("Speed") == pytest.approx([60, 25], rel=0.3)
    fast_seconds, slow_seconds = median("In all")
    assert fast_seconds < slow_seconds
    assert all(len(text.split()) > 10 for text in opened.texts(".pane .answer:not(.thought)"))


def _answered(opened: Page) -> list[dict[str, float]]:
    """What either pane tells of its answer."""
    opened.browser.click("#send")
    progress.wait_for(
        "two answers", lambda: opened.texts(".pane [role=status]") == ["Done"] * 2, seconds=SECONDS
    )
    return [_numbers(text) for text in opened.texts(".pane dl")]


def _numbers(text: str) -> dict[str, float]:
    words = text.splitlines()
    return {
        name: float(value.split()[0]) for name, value in zip(words[::2], words[1::2], strict=True)
    }


def test_the_same_prompt_is_stopped_in_both(opened: Page) -> None:
    opened.browser.click("#send")
    opened.wait(".pane [role=status]", "Answering")
    opened.browser.click("#stop")
    progress.wait_for(
        "the end", lambda: opened.texts(".pane [role=status]") == ["Stopped"] * 2, seconds=SECONDS
    )
    opened.wait("#figures", "0 in flight")


def test_the_past_is_there_when_the_page_opens(opened: Page) -> None:
    serving = len((SERVING, SMALL, *page_site.TOGETHER))
    opened.wait("#replicas .readout", f"now: {serving} ready")
    opened.browser.run("document.querySelector('#requests svg').focus()")
    label = "return document.querySelector('#requests svg').getAttribute('aria-label')"
    assert re.fullmatch(r"Requests, now: \d+ held, \d+ in flight", opened.browser.run(label))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_control_has_a_name_and_every_text_its_contrast(opened: Page, scheme: str) -> None:
    opened.scheme(scheme)

    assert opened.browser.run(AUDIT.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("pixels", [360, 768, 1280])
def test_it_fits_the_width_of_the_window(opened: Page, pixels: int) -> None:
    opened.width(pixels)
    try:
        assert opened.browser.run(BEYOND) == []
    finally:
        opened.emulate("clearDeviceMetricsOverride")


def test_a_gateway_without_keys_asks_for_none_and_its_end_is_told(
    browser: Browser, tmp_path: Path
) -> None:
    (tmp_path / "routes").write_text("[]")
    gateway = GatewayProcess(tmp_path, ("--routes", str(tmp_path / "routes"), "--auth", "None"))
    gateway.start()
    page = Page(browser, gateway.management_port)
    try:
        page.open()
        page.wait("#models-empty", "No models yet")
        example = yaml.safe_load(page.text("#models-empty pre"))
        assert ModelDeployment.model_validate(example).spec.model.source.startswith("hf://")
    finally:
        gateway.kill()
    page.wait("#banner", "No answer: the gateway does not answer. Trying again.")
    page.wait("#link-text", "Offline")
    browser.open(
        "about:blank"
    )  # which asks nobody, so that the next test has no errors of this one
    assert any("ERR_CONNECTION_REFUSED" in one for one in browser.errors())


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pictures_for_the_documentation(opened: Page, scheme: str, tmp_path: Path) -> None:
    folder = PICTURES if os.environ.get(TAKES_PICTURES) else tmp_path
    opened.scheme(scheme)
    opened.width(1280, 1060)
    try:
        opened.emulate("setScrollbarsHidden", hidden=True)
        opened.browser.run("document.getElementById('most-tokens').value = 90")
        opened.browser.click("#send")
        opened.wait(".pane [role=status]", "Done")
        opened.wait("#figures", "0 in flight", seconds=SECONDS)
        for name, section in (("page", "models"), ("playground", "queue")):
            opened.browser.run(f"document.getElementById('{section}').scrollIntoView()")
            picture = folder / f"{name}-{scheme}.png"
            opened.browser.screenshot(picture)
            assert LEAST_PICTURE_BYTES < picture.stat().st_size < MOST_PICTURE_BYTES
    finally:
        opened.emulate("clearDeviceMetricsOverride")
