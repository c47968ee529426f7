"""`berth`, a user's terminal: shows the operator's own decisions and has no logic of its own.

    berth plan -f model.yaml --gpu 80Gi --gpus-per-node 8
    berth ps -A

Exit codes: 0 it fits or is done, 1 it does not or is refused, 2 an input cannot be read, 130 ended
by Ctrl-C.
"""

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Final, TextIO

from berth_api.model_deployment import ModelDeployment
from berth_api.spec import Spec
from berth_cli import arguments, model_file, profiles, report, shapes
from berth_cli.arguments import Options
from berth_cli.commands import Command
from berth_cli.errors import InputError, TerminalError
from berth_cli.preview import Preview, preview
from berth_cli.profiles import Fleet
from berth_cli.report import Screen

EXIT_DOES_NOT_FIT: Final = 1
EXIT_INPUT: Final = 2
EXIT_INTERRUPTED: Final = 130  # 128 and SIGINT's number, as shells have it


def main(argv: Sequence[str] | None = None) -> int:
    words = sys.argv[1:] if argv is None else argv
    options = arguments.parse(words)
    try:
        return plan(options) if isinstance(options, Options) else speak(options)
    except TerminalError as error:
        print(report.printable(f"berth {words[0]}: {error}"), file=sys.stderr)
        return EXIT_INPUT if isinstance(error, InputError) else EXIT_DOES_NOT_FIT
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        forget_output()
        return 0


def plan(options: Options) -> int:
    """Raises InputError."""
    shown = look(options, os.environ)
    show(render(shown, options.output, screen(sys.stdout, os.environ)))
    return 0 if shown.fits else EXIT_DOES_NOT_FIT


def speak(command: Command) -> int:
    """Raises TerminalError."""
    from berth_cli import speak as cluster  # noqa: PLC0415 -- its client takes long to import

    return cluster.speak(command, os.environ, screen(sys.stdout, os.environ), show)


def look(options: Options, environ: Mapping[str, str]) -> Preview:
    """Raises InputError."""
    cr = model_file.read(options.file)
    spec = ModelDeployment.model_validate(cr).spec
    where = fleet(options, spec, environ)
    shape = shapes.read(spec.model.source, options.shape, environ)
    adapters = shapes.read_adapters(spec.adapters, environ)
    return preview(cr, where, shape, datetime.now(timezone.utc), adapters)


def fleet(options: Options, spec: Spec, environ: Mapping[str, str]) -> Fleet:
    """Raises InputError."""
    if options.cluster is not None:
        from berth_cli import cluster  # noqa: PLC0415 -- its client takes long to import

        known = cluster.read(options.cluster, environ)
    elif options.config is not None:
        known = Fleet(profiles.configured(options.config))
    else:
        known = profiles.without_cards()
    return known if options.card is None else profiles.with_card(known.settings, options.card, spec)


def render(shown: Preview, output: str, shape: Screen) -> str:
    if output == "json":
        return report.as_json(shown)
    return report.as_yaml(shown) if output == "yaml" else report.as_text(shown, shape)


def show(text: str) -> None:
    """Also to a reader that stops early, as `head` does."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        forget_output()


def forget_output() -> None:
    """Nobody reads it any more; at its end Python would try once more to write what is left."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def screen(out: TextIO, environ: Mapping[str, str]) -> Screen:
    """The same text wherever it is kept: only a terminal has its own width and colours."""
    if not out.isatty():
        return Screen()
    columns = shutil.get_terminal_size().columns
    return Screen(columns=columns, colours=not environ.get("NO_COLOR"))


if __name__ == "__main__":
    sys.exit(main())
