import pytest

from standins.engine_requests import Api, Problem, check_model, decode, question

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hello there"}]}


def refused(call, *arguments):
    with pytest.raises(Problem) as met:
        call(*arguments)
    return met.value.document()["error"]


def test_a_name_that_is_not_served_is_refused_with_those_that_are():
    told = refused(check_model, {"model": "nope"}, ["m", "alias2"])
    assert told == {
        "message": "The model `nope` does not exist. Valid aliases: m, alias2.",
        "type": "NotFoundError",
        "param": "model",
        "code": 404,
    }
    check_model({"model": "alias2"}, ["m", "alias2"])
    check_model({}, ["m"])


def test_broken_json_tells_its_place():
    told = refused(decode, b'{"model":')
    assert (told["code"], told["param"], told["type"]) == (400, "body.9", "Bad Request")
    assert "'type': 'json_invalid'" in told["message"]
    assert refused(decode, b"[]")["code"] == 400


def test_messages_of_a_wrong_type_are_refused():
    told = refused(question, Api.CHAT, {"messages": "hi"}, 100)
    assert (told["code"], told["param"]) == (400, "body.messages")
    assert refused(question, Api.CHAT, {}, 100)["message"] == "Field required"


def test_a_prompt_above_the_context_is_refused_with_its_length():
    told = refused(question, Api.COMPLETION, {"prompt": "x" * 4 * 2049}, 2048)
    assert told["message"].startswith(
        "This model's maximum context length is 2048 tokens. However, your prompt contains at "
        "least 2049 input tokens"
    )
    assert told["param"] == "input_tokens"


def test_more_tokens_than_the_context_are_refused():
    told = refused(question, Api.CHAT, CHAT | {"max_tokens": 5000}, 2048)
    assert told["message"] == "max_tokens=5000 cannot be greater than max_model_len=2048."


def test_a_completion_has_sixteen_tokens_and_a_chat_ends_by_itself():
    assert len(question(Api.COMPLETION, {"prompt": "hello"}, 2048).answer) == 16
    chat = question(Api.CHAT, CHAT, 2048)
    assert chat.ends
    assert 8 <= len(chat.answer) <= 64


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "max_output_tokens"])
def test_an_answer_has_as_many_tokens_as_were_asked_for(name):
    asked = question(Api.CHAT, CHAT | {name: 300}, 2048)
    assert len(asked.answer) == 300
    assert not asked.ends


def test_all_apis_read_the_same_conversation():
    told = [{"role": "user", "content": "hello"}]
    chat = question(Api.CHAT, {"messages": told}, 100)
    assert question(Api.RESPONSE, {"input": "hello"}, 100).prompt == chat.prompt
    assert question(Api.RESPONSE, {"input": told}, 100).prompt == chat.prompt
    assert question(Api.MESSAGE, {"messages": told, "max_tokens": 5}, 100).prompt == chat.prompt
