"""Every error that the operator raises; foreign ones are mapped to these at the edges."""


class BerthError(Exception):
    """Of Berth's own making or mapped to it; the message is fit for a status."""


class ConfigurationError(BerthError):
    """The operator cannot start like this: exit code 2 and one line."""


class ApiError(BerthError):
    """The API server refused or could not be reached."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        reason: str = "",
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds


class Conflict(ApiError):
    """409: the object changed or has another owner."""


class NotFound(ApiError):
    """404."""


class Denied(ApiError):
    """403 or 422: trying the same again will not help until someone changes something."""


class Unavailable(ApiError):
    """No answer, 429 or 5xx: worth another try."""


class NotLeading(BerthError):
    """A write was held back: another operator leads, or may."""


class OrderRefused(BerthError):
    """An order of Ollama's client that is not carried out, with the HTTP status for it."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class LeadershipLost(BerthError):
    """Another operator leads, or may have: the process must end, and start anew as a standby."""
