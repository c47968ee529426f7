"""The engine's words are the model's: greedy replies through the whole path against transformers'.

Both run float32 on the same weights. Where they part, the two best tokens must have been closer
than rounding can tell: a wrong kernel would part where the choice was clear.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from dev.installed import Berth

TOKENS = 24
# Logits differ by this much between two float32 implementations of this model at most; the
# choice is a coin's toss below it. SmolLM2's logits are of the order of 20.
TIE_LOGITS = 0.05
PROMPTS = [
    "What is the capital of France?",
    "Why is the sky blue?",
    "Name three primary colours.",
    "What is 2 + 2?",
    "Write one sentence about the sea.",
    "Who wrote Hamlet?",
    "What is the largest planet?",
    "How many legs has a spider?",
    "Translate 'good morning' into French.",
    "What is water made of?",
    "Give a synonym of happy.",
    "What is the opposite of hot?",
    "Name a fruit that is yellow.",
    "What is the boiling point of water in Celsius?",
    "Which animal says meow?",
    "What language is spoken in Brazil?",
    "What is the chemical symbol of gold?",
    "How many days are in a week?",
    "Who painted the Mona Lisa?",
    "What is the tallest mountain on Earth?",
]


@pytest.fixture(scope="module")
def reference(berth: Berth) -> list[dict[str, Any]]:
    script = Path(__file__).with_name("reference.py").read_text(encoding="utf-8")
    log = berth.run_beside_the_model(script, [str(TOKENS)], {"PROMPTS": json.dumps(PROMPTS)})
    (line,) = [one for one in log.splitlines() if one.startswith("REFERENCE ")]
    return json.loads(line.removeprefix("REFERENCE "))["float32"]


def test_greedy_replies_are_transformers_greedy_replies(
    client: OpenAI, model: str, reference: list[dict[str, Any]]
) -> None:
    agree = 0
    parted = []
    for prompt, expected in zip(PROMPTS, reference, strict=True):
        reply = client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": prompt}],
            temperature=0,
            max_tokens=TOKENS,
            extra_body={"return_token_ids": True},
        )
        tokens = reply.choices[0].model_extra["token_ids"]
        same = _common(tokens, expected["tokens"])
        agree += same > 0
        if same < min(len(tokens), len(expected["tokens"])):
            parted.append((prompt, same, expected["margins"][same]))
    print(f"first tokens agree: {agree} of {len(PROMPTS)}; parted later: {parted}")
    assert agree == len(PROMPTS)
    assert all(margin < TIE_LOGITS for _, _, margin in parted), parted


def _common(left: list[int], right: list[int]) -> int:
    """How many tokens the two begin with alike."""
    pairs = zip(left, right, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(left), len(right)))
