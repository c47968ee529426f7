"""Every error that the server raises; foreign ones are mapped to these at the edges."""

from berth_api.shape import Failure, FetchError


class ServerError(Exception):
    """Of the server's own making or mapped to it; the message is fit for a status."""


class ConfigurationError(ServerError):
    """The pod cannot start like this: exit code 2."""


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
