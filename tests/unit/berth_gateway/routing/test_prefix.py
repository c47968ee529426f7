import json
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from berth_gateway.routing.pick import NoneLeft, NoRoom, Picked, View, pick
from berth_gateway.routing.prefix import Affinity, Memory, affinity, pick_by_prefix
from berth_gateway.routing.snapshot import Endpoint

KEYS = "abcdefgh"
ENDPOINTS = tuple(Endpoint(key=key, url=f"http://{key}", name=key) for key in KEYS)
IDLE = View()


def _prefix(*texts: str) -> bytes:
    """Role and content of each message, as the request's reader hands them over."""
    roles = ("system", *("user", "assistant") * len(texts))
    return b"".join(
        json.dumps(role).encode() + json.dumps(text).encode()
        for role, text in zip(roles, texts, strict=False)
    )


def _conversation(number: int, turns: int) -> bytes:
    """All begin with the same words of the system; what follows is each one's own."""
    texts = [f"{number}.{turn} " * 300 for turn in range(2 * turns - 1)]
    return _prefix("You are a helpful assistant. " * 40, *texts)


def _choose(memory: Memory, asked: Affinity, view: View = IDLE, endpoints=ENDPOINTS) -> str:
    picked = pick_by_prefix(endpoints, view, asked, memory)
    assert isinstance(picked, Picked)
    memory.learn(asked, picked.endpoint.key)
    return picked.endpoint.key


@given(st.binary(max_size=5000), st.binary(max_size=5000))
def test_what_a_prompt_begins_with_it_shares_with_its_beginning(head: bytes, more: bytes) -> None:
    whole, begun = affinity(head + more).pieces, affinity(head).pieces

    assert whole[: len(begun)] == begun


@given(st.binary(min_size=256, max_size=5000), st.integers(0, 4999))
def test_one_other_byte_and_nothing_behind_it_is_alike(prompt: bytes, place: int) -> None:
    place %= len(prompt)
    other = prompt[:place] + bytes([prompt[place] ^ 1]) + prompt[place + 1 :]
    pairs = zip(affinity(prompt).pieces, affinity(other).pieces, strict=True)
    alike = [one == another for one, another in pairs]

    assert alike == sorted(alike, reverse=True)
    assert alike.count(True) <= place // 256


@given(st.integers(1, 2**20))
def test_at_most_an_eighth_of_a_prompt_and_one_piece_goes_unseen(size: int) -> None:
    place = max(size * 7 // 8 - 256 - 1, 0)
    one, other = bytearray(size), bytearray(size)
    other[place] = 1
    seen = affinity(bytes(one)).pieces[-1:] != affinity(bytes(other)).pieces[-1:]

    assert seen or size < 512


def test_a_megabyte_is_few_pieces() -> None:
    assert len(affinity(bytes(2**20)).pieces) < 70


def test_short_conversations_stay_where_they_began_too() -> None:
    memory = Memory()
    texts = ["hi", "hello!", "how are you?", "well"]
    first = {n: _choose(memory, affinity(_prefix(f"{n}", *texts[:1]))) for n in range(40)}

    assert len(set(first.values())) > 1
    for number, key in first.items():
        assert _choose(memory, affinity(_prefix(f"{number}", *texts[:3]))) == key


def test_every_turn_of_a_conversation_goes_where_the_first_went() -> None:
    memory = Memory()
    first = {number: _choose(memory, affinity(_conversation(number, 1))) for number in range(40)}
    for turns in (2, 3, 4):
        for number, key in first.items():
            assert _choose(memory, affinity(_conversation(number, turns))) == key


def test_conversations_that_share_their_first_words_are_spread() -> None:
    memory = Memory()
    taken = Counter(_choose(memory, affinity(_conversation(number, 1))) for number in range(80))

    assert set(taken) == set(KEYS)
    assert max(taken.values()) <= 15


def test_a_prompt_that_is_mostly_known_goes_to_its_holder_whatever_comes_after() -> None:
    memory = Memory()
    document = "a long document " * 500
    first = _choose(memory, affinity(_prefix(document, "a question")))
    asked = [affinity(_prefix(document, f"question {number}?")) for number in range(20)]

    assert {_choose(memory, one) for one in asked} == {first}


def test_another_gateway_finds_the_same_home_for_an_opening_it_has_never_seen() -> None:
    one, other = Memory(), Memory()
    for number in range(50):
        opening = affinity(_prefix("system", f"hello {number}"))
        later = affinity(_prefix("system", f"hello {number}", "an answer", "more"))
        assert _choose(one, opening) == _choose(other, later)


@given(st.sampled_from(KEYS))
def test_an_endpoint_that_goes_moves_only_the_openings_that_lived_there(gone: str) -> None:
    left = tuple(one for one in ENDPOINTS if one.key != gone)
    for number in range(60):
        asked = affinity(b"short %d" % number)  # no piece is whole, so nothing is remembered
        home = _choose(Memory(), asked)
        assert _choose(Memory(), asked, endpoints=left) == home or home == gone


def test_it_leaves_an_endpoint_that_is_clearly_busier() -> None:
    memory = Memory()
    asked = affinity(_conversation(1, 2))
    warm = _choose(memory, asked)

    assert _choose(memory, asked, View(in_flight={warm: 7})) == warm
    assert _choose(memory, asked, View(in_flight={warm: 8})) != warm


def test_it_gives_up_what_is_cached_where_the_wait_for_it_costs_more() -> None:
    memory = Memory()
    asked = affinity(_conversation(1, 2))
    warm = _choose(memory, asked)
    seen = memory.seen(asked)[warm]

    assert _choose(memory, asked, View(computing={warm: seen - 300})) == warm
    assert _choose(memory, asked, View(computing={warm: seen + 300})) != warm


def test_what_waits_to_be_computed_everywhere_keeps_nothing_from_its_place() -> None:
    memory = Memory()
    asked = affinity(_conversation(1, 2))
    warm = _choose(memory, asked)

    assert _choose(memory, asked, View(computing=dict.fromkeys(KEYS, 10**6))) == warm


def test_a_choice_tells_how_much_is_to_be_computed() -> None:
    memory = Memory()
    first, second = affinity(_conversation(1, 1)), affinity(_conversation(1, 2))
    new = pick_by_prefix(ENDPOINTS, IDLE, first, memory)
    assert isinstance(new, Picked)
    assert new.unseen == first.size
    memory.learn(first, new.endpoint.key)
    again = pick_by_prefix(ENDPOINTS, IDLE, second, memory)
    assert isinstance(again, Picked)
    assert again.endpoint == new.endpoint
    assert second.size - first.size <= again.unseen < second.size


def test_it_leaves_an_endpoint_whose_batch_is_full_while_anothers_is_not() -> None:
    memory = Memory()
    asked = affinity(_conversation(1, 2))
    warm = _choose(memory, asked)
    room = 10  # two in the batch and four waiting for each

    assert _choose(memory, asked, View(in_flight={warm: 1}, room=room)) == warm
    assert _choose(memory, asked, View(in_flight={warm: 2}, room=room)) != warm
    all_full = dict.fromkeys(KEYS, 2)
    assert _choose(memory, asked, View(in_flight=all_full, room=room)) in memory.holders(
        asked.pieces[-1]
    )


def test_both_endpoints_that_have_seen_a_prompt_are_good_for_it() -> None:
    memory = Memory()
    asked = affinity(_conversation(1, 2))
    memory.learn(asked, "a")
    memory.learn(asked, "b")

    assert _choose(memory, asked, View(in_flight={"b": 9})) == "a"
    assert _choose(memory, asked, View(in_flight={"a": 9})) == "b"


def test_the_choice_says_why() -> None:
    memory = Memory()
    asked = affinity(_conversation(1, 1))
    memory.learn(asked, "c")
    known = pick_by_prefix(ENDPOINTS, IDLE, asked, memory)

    assert isinstance(known, Picked)
    assert known.why == f"has seen {asked.size} bytes, 0 in flight, of 8"


@given(
    st.frozensets(st.sampled_from(KEYS)),
    st.frozensets(st.sampled_from(KEYS)),
    st.dictionaries(st.sampled_from(KEYS), st.integers(1, 9)),
    st.integers(0, 5),
)
def test_whoever_may_not_take_a_request_does_not_get_it_for_being_warm(
    failed, paused, in_flight, number
) -> None:
    memory = Memory()
    asked = affinity(_conversation(number, 2))
    for key in KEYS:
        memory.learn(asked, key)
    view = View(in_flight, failed=failed, paused=paused, room=5)
    plain, warm = pick(ENDPOINTS, view), pick_by_prefix(ENDPOINTS, view, asked, memory)

    assert type(plain) is type(warm)
    if isinstance(warm, Picked):
        assert warm.endpoint.key not in failed | paused
        assert in_flight.get(warm.endpoint.key, 0) < 5
    else:
        assert isinstance(warm, (NoRoom, NoneLeft))


@given(st.lists(st.integers(0, 200), max_size=100), st.integers(100, 400))
def test_the_memory_is_bounded_and_keeps_what_was_met_last(numbers: list[int], bound: int) -> None:
    memory = Memory(bound)
    for number in numbers:
        asked = affinity(b"%d " % number * 1000)
        memory.learn(asked, "a")
        assert len(memory) <= bound + len(asked.pieces)
        assert memory.holders(asked.pieces[-1]) == ("a",)


def test_what_is_met_again_outlives_what_is_not() -> None:
    memory = Memory(200)
    kept, dropped = (affinity(text * 1000) for text in (b"kept", b"dropped"))
    memory.learn(kept, "a")
    memory.learn(dropped, "a")
    for number in range(100):
        memory.learn(affinity(b"%d " % number * 300), "a")
        memory.learn(kept, "a")

    assert memory.holders(kept.pieces[-1])
    assert not memory.holders(dropped.pieces[-1])


def test_an_endpoint_that_is_gone_is_forgotten() -> None:
    memory = Memory()
    shared, own = affinity(_conversation(1, 1)), affinity(_conversation(2, 1))
    for key in "ab":
        memory.learn(shared, key)
    memory.learn(own, "b")
    memory.keep_only({"a"})

    assert memory.holders(shared.pieces[-1]) == ("a",)
    assert memory.holders(own.pieces[-1]) == ()
    assert (memory.taken("b"), memory.taken("a")) == (0, memory.taken_in_all)
