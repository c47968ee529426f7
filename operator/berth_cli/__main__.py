"""`berth`, a user's terminal: shows the operator's own decisions and has no logic of its own.

    berth plan -f model.yaml --gpu 80Gi --gpus-per-node 8

Exit codes: 0 it fits, 1 it does not or is refused, 2 an input cannot be read.
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
from berth_cli.errors import InputError
from berth_cli.preview import Preview, preview
from berth_cli.profiles import Fleet
from berth_cli.report import Screen

EXIT_DOES_NOT_FIT: Final = 1
EXIT_INPUT: Final = 2


def main(argv: Sequence[str] | None = None) -> int:
    options = arguments.parse(sys.argv[1:] if argv is None else argv)
    try:
        shown = look(options, os.environ)
    except InputError as error:
        print(report.printable(f"berth plan: {error}"), file=sys.stderr)
        return EXIT_INPUT
    show(render(shown, options.output, screen(sys.stdout, os.environ)))
    return 0 if shown.fits else EXIT_DOES_NOT_FIT


def look(options: Options, environ: Mapping[str, str]) -> Preview:
    """Raises InputError."""
    cr = model_file.read(options.file)
    spec = ModelDeployment.model_validate(cr).spec
    where = fleet(options, spec, environ)
    shape = shapes.read(spec.model.source, options.shape, environ)
    return preview(cr, where, shape, datetime.now(timezone.utc))


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
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def screen(out: TextIO, environ: Mapping[str, str]) -> Screen:
    """The same text wherever it is kept: only a terminal has its own width and colours."""
    if not out.isatty():
        return Screen()
    columns = shutil.get_terminal_size().columns
    return Screen(columns=columns, colours=not environ.get("NO_COLOR"))


if __name__ == "__main__":
    sys.exit(main())
