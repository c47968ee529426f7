"""One reader under atheris, which changes bytes until they take a way through it that is new.

    python tests/harness/coverage_guided.py <reader> <empty folder> -max_total_time=<s>

Ends with a status other than 0 at the first fault, at an input that takes too long, or once the
process is too large.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["berth_gateway.routing", "berth_server", "berth_api"]):
    from berth_gateway.errors import Refusal
    from berth_gateway.routing import request
    from berth_gateway.settings import Limits
    from berth_server import crash, parts, phases, weights

LIMITS = Limits()
FORM = b"multipart/form-data; boundary=b"


def body(raw: bytes) -> None:
    try:
        read = request.parse(raw, LIMITS)
    except Refusal:
        return
    assert json.loads(read.naming("other"))["model"] == "other"
    assert isinstance(read.prefix, bytes)


def form(raw: bytes) -> None:
    try:
        read = request.parse_form(raw, FORM)
    except Refusal:
        return
    assert request.parse_form(read.naming("other"), FORM).model == "other"


def header(raw: bytes) -> None:
    try:
        tensors = weights.read(raw, parts.Facts(layers=2, heads=4, kv_heads=2))
    except weights.HeaderError:
        return
    assert all(size >= 0 for size in tensors.bytes_by_dtype.values())


def log(raw: bytes) -> None:
    lines = raw.decode(errors="replace").splitlines()
    for line in lines:
        phases.read(line)
    assert crash.explain(lines, 1).reason


READERS: dict[str, tuple[Callable[[bytes], None], tuple[bytes, ...]]] = {
    "body": (
        body,
        (
            b'{"model":"a","messages":[{"role":"user","content":"x"}],"n":1}',
            b'{"model":":"}',
            b'{"mod\\u0065l":"a","model":"b","input":[{"image_url":{"url":"data:,"}}],"x":NaN}',
        ),
    ),
    "form": (
        form,
        (b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\na\r\n--b--\r\n',),
    ),
    "header": (
        header,
        (b'{"__metadata__":{},"a":{"dtype":"BF16","shape":[2,2],"data_offsets":[0,8]}}',),
    ),
    "log": (
        log,
        (
            b"Available KV cache memory: 1.5 GiB\nNo available memory for the cache blocks",
            (
                b"CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 1 GiB "
                b"of which 1.00 MiB is free."
            ),
            (
                b"max seq len (8), (1.5 GiB KV cache is needed, which is larger than the available KV "
                b"cache memory (1 GiB). Based on the available memory, the estimated maximum model "
                b"length is 16"
            ),
        ),
    ),
}


def main() -> None:
    name, corpus, *flags = sys.argv[1:]
    target, examples = READERS[name]
    for number, example in enumerate(examples):
        (Path(corpus) / str(number)).write_bytes(example)
    arguments: list[Any] = [sys.argv[0], corpus, *flags]
    atheris.Setup(arguments, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
