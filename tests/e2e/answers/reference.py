"""Runs inside the runtime image: transformers' greedy replies on the weights that vLLM serves.

Prints one JSON line: for each prompt and dtype the token ids, and how far ahead the chosen token
was of the next one, in logits. Prompts come as a JSON list in PROMPTS.
"""

import json
import os
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

MODEL = sys.argv[1]
TOKENS = int(sys.argv[2])


def replies(dtype: torch.dtype) -> list[dict]:
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=dtype)
    return [reply(tokenizer, model, prompt) for prompt in json.loads(os.environ["PROMPTS"])]


def reply(tokenizer, model, prompt: str) -> dict:
    chat = [{"role": "user", "content": prompt}]
    ids = tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )["input_ids"]
    out = model.generate(
        ids,
        max_new_tokens=TOKENS,
        do_sample=False,
        output_logits=True,
        return_dict_in_generate=True,
    )
    tokens = out.sequences[0, ids.shape[1] :].tolist()
    margins = [
        (top := torch.topk(step[0].float(), 2).values.tolist())[0] - top[1] for step in out.logits
    ]
    return {
        "text": tokenizer.decode(tokens, skip_special_tokens=True),
        "tokens": tokens,
        "margins": margins,
    }


if __name__ == "__main__":
    torch.manual_seed(0)
    print("REFERENCE " + json.dumps({"float32": replies(torch.float32)}))
