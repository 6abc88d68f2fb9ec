"""Errors, named for who acts on them (STYLE.md). Each carries a stable code that the reference documents."""

from __future__ import annotations

from typing import ClassVar


class EcotoneError(Exception):
    """A failure that somebody can act on.

    Attributes:
        code: Stable, documented, dotted name, such as `request.too_large`.
        message: What, where and how to mend it; never any content of a request.
        status: HTTP status that the caller sees.
        param: The field at fault, in OpenAI's `param` sense.
        retry_after_s: Seconds after which trying again makes sense, where that is known.
    """

    default_status: ClassVar[int] = 500
    openai_type: ClassVar[str] = "server_error"

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = self.default_status if status is None else status
        self.param = param
        self.retry_after_s = retry_after_s


class RequestError(EcotoneError):
    """The caller asked for something malformed, unknown or too large; the caller mends it."""

    default_status = 400
    openai_type = "invalid_request_error"


class RefusalError(EcotoneError):
    """Policy said no (403), or a limit did (429, 503). Never a reason to try the next target."""

    default_status = 403
    openai_type = "permission_error"


class PlacementError(EcotoneError):
    """No target can take the request; the message gives every target's reason, for the operator."""

    default_status = 503
    openai_type = "service_unavailable_error"


class DeadlineError(EcotoneError):
    """The caller's deadline passed, or cannot be met."""

    default_status = 504
    openai_type = "timeout_error"


class TargetError(EcotoneError):
    """A target failed. Before the first byte to the caller, the next target is tried.

    The code is one of `values.reasons.TARGET_FAILURES`, such as `dns`, `refused` or `http_503`.
    """

    default_status = 502
    openai_type = "upstream_error"


class TrustError(EcotoneError):
    """A signature, digest or chain does not hold: an alarm for the operator; nothing of it is used."""

    default_status = 500


class ConfigError(EcotoneError):
    """The configuration is wrong; the message gives the path and how to mend it. Exit code 2.

    Attributes:
        problems: Every problem found, each as `path: message`, so that all can be mended in one go.
    """

    default_status = 500

    def __init__(self, code: str, message: str, *, problems: tuple[str, ...] = ()) -> None:
        super().__init__(code, message)
        self.problems = problems or (message,)
