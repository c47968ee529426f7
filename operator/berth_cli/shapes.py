"""Where a model's shape comes from: a shape Job's answer, a folder, or the hub.

Folders and the hub are read by the code that the shape Job runs, and by no copy of it. It is
imported only then: a Job's answer needs no hub library.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from berth_api.adapters import AdapterReport
from berth_api.server import FetchConfig
from berth_api.shape import Failure, ShapeReport
from berth_api.source import HubSource, parse
from berth_api.spec import Adapter
from berth_cli.documents import of_json, refuse_foreign, text_of
from berth_cli.errors import InputError

_INSTALL: Final = "install Berth with its extra fetch, or give --shape a shape Job's answer"


def read(source: str, given: Path | None, environ: Mapping[str, str]) -> ShapeReport:
    """The shape of `source`. Raises InputError."""
    if given is None:
        return _of_hub(source, environ)
    return _of_folder(given) if given.is_dir() else _of_answer(given)


def read_adapters(
    adapters: Iterable[Adapter], environ: Mapping[str, str]
) -> dict[str, AdapterReport]:
    """What is known of each, by its source. Raises InputError."""
    return {one.source: _adapter(one, environ) for one in adapters}


def _adapter(adapter: Adapter, environ: Mapping[str, str]) -> AdapterReport:
    what = f"spec.adapters: {adapter.name}"
    if not adapter.source.startswith("hf://"):
        raise InputError(
            f"{what}: {adapter.source}: only hf:// sources are read from here; leave it out, or "
            "plan with a copy of it on a hub"
        )
    _, errors = _reader(what)
    from berth_server import adapter_shape  # noqa: PLC0415 -- the module's docstring

    wanted = FetchConfig(source=adapter.source, directory="")
    try:
        found = adapter_shape.read(wanted, dict(environ))
    except errors.SourceError as error:
        raise _refused(what, error.failure) from error
    except errors.ConfigurationError as error:
        raise InputError(f"{what}: {error}") from error
    refuse_foreign(found.model_dump(), what)
    return found


def _of_answer(path: Path) -> ShapeReport:
    fix = "give a shape Job's answer, or the model's folder"
    document = of_json(text_of("--shape", path), f"--shape {path}", fix)
    if not isinstance(document, dict) or not {"config", "failure"} & document.keys():
        raise InputError(
            f"--shape {path}: no shape Job's answer: it has no key config; for a config.json or an "
            "index of safetensors give the folder that holds it"
        )
    try:
        return _usable(f"--shape {path}", ShapeReport.model_validate(document))
    except ValidationError as error:
        wrong = "; ".join(f"{one['loc'][0]}: {one['msg']}" for one in error.errors())
        raise InputError(f"--shape {path}: no shape Job's answer: {wrong}") from error


def _of_folder(path: Path) -> ShapeReport:
    shape, errors = _reader(f"--shape {path}")
    try:
        return _usable(f"--shape {path}", shape.from_folder(path))
    except (errors.SourceError, errors.EngineFailed) as error:
        raise _refused(f"--shape {path}", error.failure) from error
    except (OSError, ValueError) as error:
        raise InputError(f"--shape {path}: {error}; name a folder that can be read") from error


def _of_hub(source: str, environ: Mapping[str, str]) -> ShapeReport:
    try:
        hub = isinstance(parse(source), HubSource)
    except ValueError as error:
        raise InputError(f"spec.model.source: {source}: {error}") from error
    if not hub:
        raise InputError(
            f"spec.model.source: {source}: only hf:// sources are read from here; give --shape the "
            "model's folder, or a shape Job's answer"
        )
    shape, errors = _reader(f"spec.model.source: {source}")
    try:
        found = shape.report(FetchConfig(source=source, directory=""), dict(environ))
    except errors.ConfigurationError as error:
        raise InputError(f"spec.model.source: {source}: {error}") from error
    return _usable(f"spec.model.source: {source}", found, "; or give --shape a folder")


def _usable(what: str, report: ShapeReport, otherwise: str = "") -> ShapeReport:
    if report.failure is not None:
        raise _refused(what, report.failure, otherwise)
    refuse_foreign(report.model_dump(), what)
    return report


def _refused(what: str, failure: Failure, otherwise: str = "") -> InputError:
    fix = f"; {failure.fix}" if failure.fix else ""
    return InputError(f"{what}: {failure.reason}: {failure.message}{fix}{otherwise}")


def _reader(what: str) -> tuple[Any, Any]:
    """The server's shape reader and its errors."""
    try:
        from berth_server import errors, shape  # noqa: PLC0415 -- the module's docstring
    except ModuleNotFoundError as error:
        raise InputError(f"{what}: {error.name} is not installed; {_INSTALL}") from error
    return shape, errors
