"""The error tree. Every fault a room of Abaco raises on purpose stands here.

::

    AbacoError
    ├── RequestError              the caller's doing; the text is safe to show
    │   ├── InvalidInputError     names the field
    │   │   └── NoAccountError    the owner is nobody on the container host
    │   ├── NotFoundError
    │   ├── ConflictError         lost a compare-and-set, or already exists
    │   ├── ForbiddenError
    │   │   └── UnauthenticatedError  nobody, or not provably somebody
    │   ├── TooLargeError         a body or an environment above its limit
    │   ├── LimitExceededError    more than this kind of request may meet
    │   ├── ThrottledError        a quota is used up; carries a time to wait
    │   └── KeyReusedError        a repeat that is none: same key, another request
    ├── BackendError              a store, an engine, ...; ``retryable`` says if waiting helps
    │   ├── StoreError
    │   │   └── StoreUnavailableError
    │   ├── VaultError            a secret no key opens, or keys that cannot be replaced
    │   ├── IssuerUnavailableError    who signs tokens does not tell its keys
    │   ├── TokenError                there is no access token for an execution
    │   │   ├── TokenUnavailableError     now; retryable
    │   │   └── TokenRefusedError         nor will there be
    │   ├── ChannelError              nothing goes through a channel
    │   │   ├── ChannelClosedError        it is closed
    │   │   ├── ChannelTimeoutError       it was full, or empty, for too long
    │   │   ├── ChannelFrameError         no value of the channel's type
    │   │   ├── ChannelUnavailableError   what carries it does not answer; retryable
    │   │   └── CallFailedError           whoever answers questions there could not
    │   ├── IdentityUnavailableError  who knows the users of the host does not answer
    │   └── DriverError
    │       ├── EngineUnavailableError    the engine does not answer
    │       ├── EngineTimeoutError        it answered too late
    │       ├── ImageMissingError         not here, and not to be had
    │       ├── ContainerMissingError     no such container (any more)
    │       ├── StartFailedError          the container was never started
    │       └── StopFailedError           it would not stop
    ├── InvalidTransitionError    a bug of ours; carries the last steps
    └── ConfigError               start-up only; names file and key
"""

from __future__ import annotations

from collections.abc import Sequence


class AbacoError(Exception):
    """Root of the tree.

    Args:
        message: Text that is safe to show to a client.
        detail: Text for the log only.

    """

    #: stable word for machines, never changed once published
    code = "abaco_error"

    def __init__(self, message: str, *, detail: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail


class RequestError(AbacoError):
    """The request cannot be served as it stands."""

    code = "request"


class InvalidInputError(RequestError):
    """A value is missing or malformed.

    Args:
        message: What is wrong and what would be right.
        field: Snake-case wire name of the offending parameter, if there is one. The HTTP edge
            spells it in the configured case.

    """

    code = "invalid_input"

    def __init__(self, message: str, *, field: str = "", detail: str = "") -> None:
        super().__init__(message, detail=detail)
        self.field = field


class NoAccountError(InvalidInputError):
    """The owner of an actor is nobody on the container host."""

    code = "no_account"

    def __init__(self, message: str, *, detail: str = "") -> None:
        super().__init__(message, field="owner", detail=detail)


class NotFoundError(RequestError):
    """The named object does not exist in the caller's tenant."""

    code = "not_found"


class ConflictError(RequestError):
    """The object exists already, or is not in the status the request needs."""

    code = "conflict"


class ForbiddenError(RequestError):
    """The caller may not do this."""

    code = "forbidden"


class UnauthenticatedError(ForbiddenError):
    """The caller has not proved who it is."""

    code = "unauthenticated"


class TooLargeError(RequestError):
    """A body or an environment is above its limit."""

    code = "too_large"


class LimitExceededError(RequestError):
    """There is more than this kind of request may meet."""

    code = "limit_exceeded"


class ThrottledError(RequestError):
    """A quota is used up; the same request may pass later.

    Args:
        message: Names the limit.
        retry_after_s: Whole seconds until a try is worth it.

    """

    code = "throttled"

    def __init__(self, message: str, *, retry_after_s: int = 1, detail: str = "") -> None:
        super().__init__(message, detail=detail)
        self.retry_after_s = retry_after_s


class KeyReusedError(RequestError):
    """An idempotency key came back with a request that is not the one it was first sent with."""

    code = "key_reused"


class BackendError(AbacoError):
    """A part behind a port failed.

    Attributes:
        retryable: Whether the same call may work later without anybody's help.

    """

    code = "backend"
    retryable = False


class StoreError(BackendError):
    """A store refused or broke."""

    code = "store"


class StoreUnavailableError(StoreError):
    """The store does not answer; nothing of the call was applied, or it may be repeated."""

    code = "store_unavailable"
    retryable = True


class VaultError(BackendError):
    """No key opens a secret, or the keys cannot be replaced."""

    code = "vault"


class IssuerUnavailableError(BackendError):
    """The issuer of tokens does not answer, and its keys are not known."""

    code = "issuer_unavailable"
    retryable = True


class TokenError(BackendError):
    """No access token can be had for an execution."""

    code = "token"


class TokenUnavailableError(TokenError):
    """Whoever makes access tokens does not answer, or cannot make one now."""

    code = "token_unavailable"
    retryable = True


class TokenRefusedError(TokenError):
    """Whoever makes access tokens makes none for this actor's owner."""

    code = "token_refused"


class ChannelError(BackendError):
    """Nothing goes through a channel."""

    code = "channel"


class ChannelClosedError(ChannelError):
    """The channel is closed, or was made for something that is over."""

    code = "channel_closed"


class ChannelTimeoutError(ChannelError):
    """The channel was full, or empty, for as long as the caller would wait."""

    code = "channel_timeout"
    retryable = True


class ChannelFrameError(ChannelError):
    """What went in, or came out, is no value of the channel's type."""

    code = "channel_frame"


class ChannelUnavailableError(ChannelError):
    """What carries the channel does not answer; whether the call was applied is not known."""

    code = "channel_unavailable"
    retryable = True


class CallFailedError(ChannelError):
    """Whoever answers questions at the other end of a channel could not answer one.

    Args:
        message: Why.
        failure: The code of the error there.

    """

    code = "call_failed"

    def __init__(self, message: str, *, failure: str, detail: str = "") -> None:
        super().__init__(message, detail=detail)
        self.failure = failure


class IdentityUnavailableError(BackendError):
    """Whoever knows the users of the container host does not answer."""

    code = "identity_unavailable"
    retryable = True


class DriverError(BackendError):
    """A container engine refused or broke."""

    code = "driver"


class EngineUnavailableError(DriverError):
    """The engine does not answer (refused, reset, gone in mid-call)."""

    code = "engine_unavailable"
    retryable = True


class EngineTimeoutError(DriverError):
    """The engine took too long; the effect of the call is unknown."""

    code = "engine_timeout"
    retryable = True


class ImageMissingError(DriverError):
    """The image is not on the host and could not be pulled."""

    code = "image_missing"


class ContainerMissingError(DriverError):
    """The engine knows no such container."""

    code = "container_missing"


class StartFailedError(DriverError):
    """The container could not be created or started; the user's program never ran."""

    code = "start_failed"


class StopFailedError(DriverError):
    """The container could not be stopped."""

    code = "stop_failed"


class InvalidTransitionError(AbacoError):
    """A lifecycle machine met a stimulus its table does not know in its present status.

    Args:
        history: The last steps, oldest first, as ``status <- stimulus``.

    """

    code = "invalid_transition"

    def __init__(self, message: str, history: Sequence[str]) -> None:
        super().__init__(message, detail="\n".join(history))
        self.history = tuple(history)


class ConfigError(AbacoError):
    """The configuration is wrong; the process must not start."""

    code = "config"
