"""The conditions of a pool's model: those of a dedicated one, with the same reasons."""

from typing import Final

from berth_api.pool import PoolEngine
from berth_api.status import ConditionType
from berth_operator.core.conditions import Truth, with_fix
from berth_operator.core.planner.reading import Reading, Refused
from berth_operator.core.pools.member_view import View
from berth_operator.core.pools.revision import PooledRevision


def of(view: View) -> list[Truth]:
    """The roll-up first: it is what people look for."""
    return [compute(view) for compute in _CONDITIONS]


def _ready(view: View) -> Truth:
    kind = ConditionType.READY
    if view.serving is not None and view.problem is not None:
        return Truth(kind, True, "Degraded", with_fix(view.problem.failure))
    if view.serving is not None:
        return Truth(kind, True, "Serving", _where(view.serving))
    if view.problem is not None:
        return Truth(kind, False, "Failed", with_fix(view.problem.failure))
    if view.engine is not None and view.engine.state == "Absent":
        message = "not loaded; the first request has the pool load it"
        return Truth(kind, True, "ScaledToZero", message)
    return Truth(kind, False, "Activating", _doing(view))


def _where(engine: PoolEngine) -> str:
    cards = f" on card {', '.join(map(str, engine.cards))}" if engine.cards else ""
    return f"loaded in {engine.pod}{cards}"


def _doing(view: View) -> str:
    if isinstance(view.planned, Reading):
        return "reading the model's shape"
    if view.files is not None and view.files.state != "There":
        report = view.files.report
        return report.message if report and report.message else "fetching the model's files"
    if view.engine is None:
        return "the pool has not looked at it yet"
    return view.engine.message or view.engine.state


def _planned(view: View) -> Truth:
    kind = ConditionType.PLANNED
    match view.planned:
        case PooledRevision(plan=plan):
            return Truth(kind, True, "Fits", "; ".join(plan.explain))
        case Refused(failure=failure):
            return Truth(kind, False, failure.reason, with_fix(failure))
        case _:
            message = "reading the model's config.json and safetensors headers"
            return Truth(kind, None, "ReadingShape", message)


def _scheduled(view: View) -> Truth:
    kind = ConditionType.SCHEDULED
    if problem := _problem_of(view, kind):
        return problem
    engine = view.engine
    if engine is not None and engine.pod is not None:
        return Truth(kind, True, "Scheduled", _where(engine))
    if engine is not None and engine.state == "Waiting":
        return Truth(kind, False, "WaitingForEviction", engine.message)
    return Truth(kind, None, "Waiting", "nobody has asked for it")


def _cached(view: View) -> Truth:
    kind = ConditionType.MODEL_CACHED
    if problem := _problem_of(view, kind):
        return problem
    if view.files is not None and view.files.state == "There":
        return Truth(kind, True, "Verified", "the model's files are in the pool's cache")
    return Truth(kind, None if view.files is None else False, "Downloading", _doing(view))


def _healthy(view: View) -> Truth:
    kind = ConditionType.RUNTIME_HEALTHY
    if problem := _problem_of(view, kind):
        return problem
    if view.serves:
        return Truth(kind, True, "Serving", "the engine has generated a token")
    loading = view.engine is not None and view.engine.state == "Loading"
    return Truth(kind, False if loading else None, "EngineStarting", _doing(view))


def _routed(view: View) -> Truth:
    if view.serving is not None:
        return Truth(ConditionType.ROUTED, True, "Routed", "its engine takes requests")
    return Truth(ConditionType.ROUTED, False, "NoReadyPods", "no engine of it takes requests")


def _problem_of(view: View, kind: ConditionType) -> Truth | None:
    problem = view.problem
    if problem is None or problem.condition != kind.value:
        return None
    return Truth(kind, False, problem.failure.reason, with_fix(problem.failure))


_CONDITIONS: Final = (_ready, _planned, _scheduled, _cached, _healthy, _routed)
