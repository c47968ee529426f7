"""Every error that a client or an administrator sees, and how it looks in its API's shape.

Statuses, types and codes are those of OpenAI's own API where it has one for the case, because
the official clients choose their exception by status and programs branch on `code`.
"""

import json
from enum import Enum
from http import HTTPStatus
from typing import Final, NamedTuple

INVALID_REQUEST: Final = "invalid_request_error"
SERVER_ERROR: Final = "server_error"
UNAVAILABLE: Final = "service_unavailable_error"


class Shape(NamedTuple):
    """How one kind of refusal is told: HTTP status, error.type, error.code."""

    status: int
    type: str
    code: str | None


class Kind(Enum):
    """Each reason for which the gateway itself refuses; an engine's own answers pass unchanged."""

    BAD_REQUEST = Shape(400, INVALID_REQUEST, None)
    # Not 431: one that is malformed as well may be found out as either, by how its bytes arrive.
    HEADER_TOO_LARGE = Shape(400, INVALID_REQUEST, "header_too_large")
    UNSUPPORTED_ENCODING = Shape(400, INVALID_REQUEST, "unsupported_content_encoding")
    UNSUPPORTED_MEDIA_URL = Shape(400, INVALID_REQUEST, "invalid_image_url")
    INVALID_KEY = Shape(401, INVALID_REQUEST, "invalid_api_key")
    FOREIGN_ORIGIN = Shape(403, INVALID_REQUEST, "foreign_origin")
    NOT_ALLOWED = Shape(403, INVALID_REQUEST, "key_may_not")
    MODEL_NOT_FOUND = Shape(404, INVALID_REQUEST, "model_not_found")
    UNKNOWN_PATH = Shape(404, INVALID_REQUEST, "unknown_url")
    METHOD = Shape(405, INVALID_REQUEST, "method_not_supported")
    SLOW_BODY = Shape(408, INVALID_REQUEST, "request_timeout")
    TOO_LARGE = Shape(413, INVALID_REQUEST, "request_too_large")
    RATE_LIMITED = Shape(429, "requests", "rate_limit_exceeded")
    QUEUE_FULL = Shape(429, "requests", "queue_full")
    INTERNAL = Shape(500, SERVER_ERROR, "internal_error")
    ENGINE_DENIED = Shape(500, SERVER_ERROR, "engine_key_refused")
    ENGINE_LOST = Shape(500, SERVER_ERROR, "engine_disconnected")
    NOT_HERE = Shape(501, INVALID_REQUEST, "not_implemented")
    ENGINE_UNAVAILABLE = Shape(503, UNAVAILABLE, "engine_unavailable")
    MODELS_API_UNAVAILABLE = Shape(503, UNAVAILABLE, "models_api_unavailable")
    GATEWAY_FULL = Shape(503, UNAVAILABLE, "gateway_full")
    SERVER_BUSY = Shape(503, UNAVAILABLE, "server_busy")  # Ollama's answer where a queue is full
    LEAVING = Shape(503, UNAVAILABLE, "gateway_leaving")
    NOT_READY = Shape(503, UNAVAILABLE, "model_not_ready")


class Dialect(Enum):
    """Whose shape an error has: each API's clients know their own."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    OLLAMA = "ollama"


# Anthropic's names for what is wrong, by status (https://docs.claude.com/en/api/errors).
_ANTHROPIC_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}


class GatewayError(Exception):
    """Of the gateway's own making or mapped to it at an edge."""


class ConfigurationError(GatewayError):
    """The gateway cannot start like this: exit code 2 and one line."""


class Refusal(GatewayError):
    """The answer to a client whose request is not served. The message is for that client."""

    def __init__(
        self,
        kind: Kind,
        message: str,
        *,
        param: str | None = None,
        retry_after_seconds: int | None = None,
        allow: str | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.param = param
        self.retry_after_seconds = retry_after_seconds
        self.allow = allow

    @property
    def status(self) -> int:
        return self.kind.value.status

    def body(self, dialect: Dialect = Dialect.OPENAI) -> bytes:
        """`{"error": {message, type, param, code}}`, in ASCII whatever the client sent.

        Of Anthropic's dialect: `{"type": "error", "error": {type, message}}`; of Ollama's:
        `{"error": message}`.
        """
        if dialect is Dialect.OLLAMA:
            return json.dumps({"error": self.message}).encode()
        if dialect is Dialect.ANTHROPIC:
            return json.dumps({"type": "error", "error": self._anthropic()}).encode()
        shape = self.kind.value
        error = {
            "message": self.message,
            "type": shape.type,
            "param": self.param,
            "code": shape.code,
        }
        return json.dumps({"error": error}).encode()

    def _anthropic(self) -> dict[str, str]:
        kind = INVALID_REQUEST if self.status < HTTPStatus.INTERNAL_SERVER_ERROR else "api_error"
        return {"type": _ANTHROPIC_TYPES.get(self.status, kind), "message": self.message}

    def headers(self) -> list[tuple[bytes, bytes]]:
        found = [(b"content-type", b"application/json")]
        if self.retry_after_seconds is not None:
            found.append((b"retry-after", str(self.retry_after_seconds).encode()))
        if self.allow is not None:
            found.append((b"allow", self.allow.encode()))
        if self.kind is Kind.INVALID_KEY:
            found.append((b"www-authenticate", b"Bearer"))
        return found


def error_event(dialect: Dialect, body: bytes) -> bytes:
    """An error as the last event of a stream; no [DONE] follows it."""
    event = b"event: error\n" if dialect is Dialect.ANTHROPIC else b""
    return event + b"data: " + b" ".join(body.splitlines()) + b"\n\n"


class Failure(Enum):
    """Why a try at an endpoint gave no answer for the client."""

    CONNECT = "connect"  # refused, unreachable or no answer to the handshake in time
    RESET = "reset"  # the connection ended before the answer's first byte
    BUSY = "busy"  # 429 or 503: full or draining
    MID_STREAM = "mid_stream"  # the connection ended inside the answer: too late to retry
    DENIED = "denied"  # 401 or 403: the engine does not know our key


class EndpointFailedError(GatewayError):
    """Nothing has been sent to the client yet, so another endpoint may be tried."""

    def __init__(self, failure: Failure, detail: str) -> None:
        super().__init__(f"{failure.value}: {detail}")
        self.failure = failure


class BrokenOffError(GatewayError):
    """A translated answer that there is no more of, though its engine may go on."""

    def __init__(self, status: int, message: str) -> None:
        """`status` is what the answer would have had, had it been known in time."""
        super().__init__(message)
        self.status = status
        self.message = message


class LostError(GatewayError):
    """An engine's connection ended, or stopped making sense, before its answer was whole."""


class ApiError(GatewayError):
    """The Kubernetes API server refused, broke off or could not be reached: worth another try."""


class ExpiredError(ApiError):
    """410: the resource version is too old to go on from; list again."""
