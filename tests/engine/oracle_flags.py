"""Runs inside the engine's Python: what the engine's own parser makes of Berth's command lines.

Reads `{"commands": [argv, ...]}`. Answers with the names of every option that the parser of `vllm
serve` knows, and for each command the fields of its engine arguments and what the API server reads
besides (vllm/entrypoints/cli/serve.py, vllm/engine/arg_utils.py, 0.32).
"""

import dataclasses
import json
import sys

from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.entrypoints.cli.serve import ServeSubcommand
from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.utils.argparse_utils import FlexibleArgumentParser


def serve_parser() -> tuple[FlexibleArgumentParser, FlexibleArgumentParser]:
    """As the `vllm` command makes it, and the part of it that reads what follows `serve`."""
    whole = FlexibleArgumentParser(prog="vllm")
    serve = ServeSubcommand().subparser_init(whole.add_subparsers(dest="subparser"))
    return whole, serve


def parsed(parser: FlexibleArgumentParser, argv: list[str]) -> dict:
    if argv[1] == "serve":
        arguments = parser.parse_args(argv[1:])
        arguments.model = arguments.model_tag  # as ServeSubcommand.cmd does
    else:  # python3 -m vllm.entrypoints.openai.api_server
        arguments = make_arg_parser(FlexibleArgumentParser()).parse_args(argv[3:])
    validate_parsed_serve_args(arguments)
    engine = AsyncEngineArgs.from_cli_args(arguments)
    names = [field.name for field in dataclasses.fields(engine)]
    return vars(arguments) | {name: getattr(engine, name) for name in names}


def plain(value: object) -> object:
    """A value that JSON has, or how it prints."""
    try:
        return json.loads(json.dumps(value))
    except TypeError:
        return repr(value)


if __name__ == "__main__":
    given = json.load(sys.stdin)
    parser, serve = serve_parser()
    answer = {
        "options": [names for action in serve._actions if (names := action.option_strings)],
        "parsed": [
            {name: plain(value) for name, value in parsed(parser, argv).items()}
            for argv in given["commands"]
        ],
    }
    print(json.dumps(answer))
