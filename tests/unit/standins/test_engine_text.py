from hypothesis import given
from hypothesis import strategies as st

from standins import engine_text


@given(st.text())
def test_a_text_comes_back_from_its_tokens(text):
    numbers = [engine_text.number(token) for token in engine_text.tokens(text)]
    assert engine_text.text(numbers) == text


def test_a_token_is_about_four_characters():
    assert len(engine_text.tokens("x" * 401)) == 101


def test_the_next_turn_begins_with_the_turn_before_and_its_answer():
    first = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello there"}]
    prompt = engine_text.chat(first)
    answer = engine_text.answer(engine_text.key(prompt), 7)
    said = {"role": "assistant", "content": "".join(answer)}
    following = engine_text.chat([*first, said, {"role": "user", "content": "and then?"}])
    assert following[: len(prompt) + 7] == [*prompt, *answer]


def test_equal_prompts_get_equal_answers_and_a_seed_changes_them():
    prompt = engine_text.tokens("tell me")
    one, two = engine_text.key(prompt, 1), engine_text.key(prompt, 2)
    assert engine_text.answer(one, 40) == engine_text.answer(engine_text.key(prompt, 1), 40)
    assert engine_text.answer(one, 40) != engine_text.answer(two, 40)
    assert engine_text.answer(one, 40)[:10] == engine_text.answer(one, 10)


def test_a_message_of_parts_is_the_text_of_its_parts():
    parts = [{"type": "text", "text": "a"}, {"type": "image_url"}, {"type": "text", "text": "b"}]
    assert engine_text.content(parts) == "ab"


def test_a_prompt_of_token_numbers_has_as_many_tokens():
    assert len(engine_text.prompt([5, 6, 7])) == 3
    assert engine_text.prompt([[5, 6]]) == engine_text.prompt([5, 6])
