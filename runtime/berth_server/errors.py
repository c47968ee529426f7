"""Every error that the server raises; foreign ones are mapped to these at the edges."""

from berth_api.shape import Failure, FetchError


class ServerError(Exception):
    """Of the server's own making or mapped to it; the message is fit for a status."""


class ConfigurationError(ServerError):
    """The pod cannot start like this: exit code 2."""


class OrdersRefused(ServerError):
    """A pool's orders cannot be obeyed as a whole; each of `problems` names a field and a fix."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class OrdersTooLate(ServerError):
    """Newer orders were seen, so these are an old leader's; or the pod is ending."""


class CardsUnreadable(ServerError):
    """The driver does not say how much memory its cards have free."""


class NotWarm(ServerError):
    """An engine cannot be forked from the warm interpreter; it is executed instead."""


class EngineUnreachable(ServerError):
    """The engine did not answer an HTTP request in time, or not in HTTP."""


class EngineFailed(ServerError):
    """The engine will not serve, and this is why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class SourceError(ServerError):
    """A model's files cannot be had, for a reason that trying again at once does not change."""

    def __init__(self, reason: FetchError, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.failure = Failure(reason=reason.value, message=message, fix=fix)
