"""What the status of a pool's model is computed from, and the cause to be mended first."""

from dataclasses import dataclass

from berth_api.pool import PoolEngine
from berth_api.shape import Failure
from berth_api.status import ConditionType
from berth_operator.core.observed import Observed
from berth_operator.core.planner.reading import Refused
from berth_operator.core.pools.files import Files
from berth_operator.core.pools.planning import Planning
from berth_operator.core.problems import Problem, of_refusal
from berth_operator.core.resolved import Resolved


@dataclass(frozen=True)
class View:
    """Everything that a status is computed from."""

    observed: Observed
    resolved: Resolved
    planned: Planning
    files: Files | None = None
    engine: PoolEngine | None = None  # of the wanted plan; None: the pool has not looked yet
    serving: PoolEngine | None = None  # that answers now

    @property
    def serves(self) -> bool:
        """Whether the engine of the wanted plan does."""
        return self.engine is not None and self.engine.state == "Serving"

    @property
    def problem(self) -> Problem | None:
        """The cause that a user should mend first."""
        if isinstance(self.planned, Refused):
            return Problem(ConditionType.PLANNED.value, self.planned.failure)
        if self.observed.refusals:
            return of_refusal(self.observed.refusals[0])
        if self.files is not None and self.files.problem is not None:
            return self.files.problem
        return None if self.engine is None else _of_engine(self.engine)


def _of_engine(engine: PoolEngine) -> Problem | None:
    if engine.state == "Refused":
        failure = Failure(reason="DoesNotFit", message=engine.message, fix=engine.failure_fix or "")
        return Problem(ConditionType.SCHEDULED.value, failure)
    if engine.failure_reason is None:
        return None
    return Problem(
        ConditionType.RUNTIME_HEALTHY.value,
        Failure(
            reason=engine.failure_reason,
            message=engine.failure_message or engine.failure_reason,
            fix=engine.failure_fix or "",
        ),
        pod=engine.pod,
        count=engine.attempt,
    )
