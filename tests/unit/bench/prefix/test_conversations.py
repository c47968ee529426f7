from bench.prefix import conversations
from bench.prefix.__main__ import BLOCK_TOKENS, REPLICAS, flags
from bench.prefix.model import KV_TOKEN_BYTES


def test_a_turn_sends_all_that_was_said_before():
    one = conversations.workload(1, opening=False).conversations[0]
    first, third = one.messages(0, []), one.messages(2, ["a1", "a2"])
    assert third[: len(first)] == first
    assert [message["role"] for message in third] == [
        "system", "user", "assistant", "user", "assistant", "user",
    ]  # fmt: skip
    assert third[2]["content"] == "a1"


def test_a_seed_gives_the_same_conversations_and_another_seed_others():
    one = conversations.workload(1, opening=False)
    assert one.conversations == conversations.workload(1, opening=False).conversations
    assert one.conversations != conversations.workload(2, opening=False).conversations


def test_a_template_opens_all_first_messages_alike_further_than_kubeai_looks():
    made = conversations.workload(1, opening=True).conversations
    assert len({one.questions[0][:100] for one in made}) == 1
    assert len({one.questions[0] for one in made}) == len(made)
    lengths = {len(one.questions[0].split()) for one in made}
    assert lengths == {conversations.FIRST_TOKENS}


def test_no_cache_gives_more_hits_than_there_are_tokens_said_before():
    prompts = [640, 728, 816, 904, 992]
    cached = [128, 640, 640, 768, 896]  # whole blocks of 128 of the turn before and its answer
    assert conversations.highest_hit_rate(128) == sum(cached) / sum(prompts)


def test_the_conversations_fit_all_caches_together_and_not_one():
    cached = flags().kv_cache_bytes // KV_TOKEN_BYTES
    assert cached % BLOCK_TOKENS == 0
    assert cached < conversations.tokens_at_end() < REPLICAS * cached
    assert cached > flags().max_model_len
