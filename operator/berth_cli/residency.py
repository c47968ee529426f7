"""`berth load` and `berth unload`: what each honestly is for a model. Pure.

Who decides about replicas decides about this: `Fixed` obeys the scale subresource, `External` obeys
somebody else's, and `Auto` obeys requests, so that it is woken by one and leaves when none come. A
pool is told by an annotation, whose time counts: an object keeps it, and nobody has to answer it.
"""

from dataclasses import dataclass

from berth_api.spec import DEFAULT_KEEP_ALIVE, ScalingMode
from berth_cli.models import Known


@dataclass(frozen=True)
class Scale:
    """Write spec.replicas."""

    replicas: int


@dataclass(frozen=True)
class Wake:
    """Send a request, after spec.keepAlive was set where one is given."""

    keep_alive: str | None


@dataclass(frozen=True)
class Pin:
    """Tell the pool to load the model and to keep it, and wait until it serves."""

    keep_alive: str | None


@dataclass(frozen=True)
class Release:
    """Tell the pool to let the model go once its requests are answered."""


@dataclass(frozen=True)
class Nothing:
    """It is as it was asked to be."""

    text: str


@dataclass(frozen=True)
class Denied:
    text: str  # with the fix


Act = Scale | Wake | Pin | Release | Nothing | Denied


def load(known: Known, keep_alive: str | None) -> Act:
    denied = _denied(known)
    if denied is not None:
        return denied
    if known.spec.pool is not None:
        return Pin(keep_alive)
    if known.spec.scaling.mode is ScalingMode.AUTO:
        return Wake(keep_alive)
    if keep_alive is not None:
        return Denied(
            f"--keep-alive {keep_alive}: {known.name} has scaling.mode Fixed, and stays until it "
            "is unloaded; leave the option out, or set scaling.mode to Auto"
        )
    if known.spec.replicas > 0:
        return Nothing(f"{known.name} has spec.replicas {known.spec.replicas} already")
    return Scale(1)


def unload(known: Known) -> Act:
    denied = _denied(known)
    if denied is not None:
        return denied
    if known.spec.pool is not None:
        return Release()
    if known.spec.scaling.mode is ScalingMode.AUTO:
        return _of_auto(known)
    if known.spec.replicas == 0:
        return Nothing(f"{known.name} has spec.replicas 0 already")
    return Scale(0)


def _of_auto(known: Known) -> Act:
    if known.spec.scaling.min_replicas > 0:
        return Denied(
            f"{known.name} has scaling.minReplicas {known.spec.scaling.min_replicas}, and always "
            "runs; set it to 0"
        )
    if known.status.replicas == 0:
        return Nothing(f"{known.name} runs nowhere already")
    keep = known.spec.keep_alive or DEFAULT_KEEP_ALIVE
    return Denied(
        f"{known.name} has scaling.mode Auto, and leaves by itself {keep} after its last request; "
        f"to have that sooner: kubectl -n {known.namespace} patch mdep {known.name} --type merge "
        '-p \'{"spec":{"keepAlive":"0"}}\''
    )


def _denied(known: Known) -> Denied | None:
    if known.spec.paused:
        return Denied(f"{known.name} has spec.paused, and nothing is changed; set it to false")
    if known.spec.scaling.mode is ScalingMode.EXTERNAL:
        return Denied(
            f"{known.name} has scaling.mode External: an HPA or KEDA writes spec.replicas and "
            "would take this back; change its bounds, or set scaling.mode to Fixed or Auto"
        )
    return None
