"""Open WebUI's page in a real browser: one question, two models, side by side."""

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import browser
import open_webui
import pytest
from browser import Browser
from open_webui_site import Site

from dev import progress
from standins import engine_text

QUESTION = "Which words do you know?"
WORDS = engine_text.key(engine_text.chat([{"role": "user", "content": QUESTION}]))
ANSWER = "".join(engine_text.answer(WORDS, engine_text.natural_length(WORDS))).strip()
ANSWER_SECONDS = 30.0
# The page's, which BERTH_SCREENSHOTS=1 make open-webui takes anew.
PICTURE = Path(__file__).parents[2] / "docs" / "images" / "open-webui.png"
COLUMNS = """
const columns = document.querySelectorAll("[id^=responses-container] .chat-assistant");
return [...columns].map((one) => [
  one.closest("[id^=message-]").querySelector("#response-message-model-name").innerText,
  one.innerText.trim(),
]);
"""


@pytest.fixture(scope="module")
def page(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Signed in."""
    with browser.chromium(tmp_path_factory.mktemp("browser")) as window:
        window.open(f"{site.url}/auth")
        window.type("#email", open_webui.EMAIL)
        window.type("#password", open_webui.PASSWORD)
        window.click("button[type=submit]")
        window.click("[role=dialog] button:last-of-type")  # of what is new in this version
        yield window


def ask(page: Browser, site: Site, question: str, *models: str) -> None:
    page.open(f"{site.url}/?models={','.join(models)}")
    page.type("#chat-input", question)
    page.click("#send-message-button")


def test_two_models_answer_one_question_side_by_side(site: Site, page: Browser) -> None:
    names = ["smollm2", "qwen3:latest"]
    ask(page, site, QUESTION, *names)
    progress.wait_for("both engines to work", site.both_work, seconds=ANSWER_SECONDS)

    def answered() -> bool:
        return page.run(COLUMNS) == [[name, ANSWER] for name in names]

    progress.wait_for("both answers", answered, seconds=ANSWER_SECONDS)
    if os.environ.get("BERTH_SCREENSHOTS"):
        page.screenshot(PICTURE)
    assert page.errors() == []


def test_a_model_that_sleeps_is_told_in_words(site: Site, page: Browser) -> None:
    ask(page, site, QUESTION, "asleep", "smollm2")

    def told() -> bool:
        asleep, smollm2 = (text for _, text in page.run(COLUMNS) or [("", ""), ("", "")])
        return "asleep" in asleep and smollm2 == ANSWER

    progress.wait_for("an answer and a reason", told, seconds=ANSWER_SECONDS)


def test_eject_lets_a_model_go(site: Site, page: Browser) -> None:
    page.open(site.url)
    page.click("#model-selector-model-button")
    page.click("[data-value='smollm2:latest'] [aria-label='Eject model']")

    def may_go() -> bool:
        return site.stays("smollm2:latest") <= timedelta()

    progress.wait_for("the word to reach Berth", may_go, seconds=ANSWER_SECONDS)
