"""What every handler shares: the way in, envelope, error mapping, CORS."""

from __future__ import annotations

import asyncio
import json
import logging
import traceback
import uuid
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any

from tornado.web import HTTPError, RequestHandler

from abaco import errors
from abaco.domain.actor import Actor
from abaco.domain.actor_config import ActorConfig
from abaco.domain.alias import Alias
from abaco.domain.audit import AuditRecord
from abaco.domain.caller import Caller
from abaco.domain.ids import ActorId
from abaco.domain.permission import ObjectKey
from abaco.operations import audit, nonces, tokens
from abaco.operations.access import Right, authorise, check_kept
from abaco.operations.services import Services
from handlers.auditing import make_record, named_object, outcome_of
from handlers.auth import Authenticator, Bearer, Proof
from handlers.entry import Entry
from handlers.parameters import Body, Fields, read_body, read_query
from handlers.spelling import Case, spell

logger = logging.getLogger(__name__)

#: The one place where an error becomes a status. Refusals of permission are 400 because clients
#: of the older Abaco depend on it.
STATUS: Mapping[type[errors.AbacoError], int] = {
    errors.AbacoError: 500,
    errors.RequestError: 400,
    errors.InvalidInputError: 400,
    errors.NoAccountError: 400,
    errors.NotFoundError: 404,
    errors.ConflictError: 400,
    errors.ForbiddenError: 400,
    errors.UnauthenticatedError: 400,
    errors.TooLargeError: 413,
    errors.LimitExceededError: 400,
    errors.ThrottledError: 429,
    errors.KeyReusedError: 422,
    errors.BackendError: 500,
    errors.StoreError: 500,
    errors.StoreUnavailableError: 503,
    errors.VaultError: 500,
    errors.IssuerUnavailableError: 503,
    errors.TokenError: 500,
    errors.TokenUnavailableError: 503,
    errors.TokenRefusedError: 500,
    errors.ChannelError: 500,
    errors.ChannelClosedError: 500,
    errors.ChannelTimeoutError: 503,
    errors.ChannelFrameError: 500,
    errors.ChannelUnavailableError: 503,
    errors.CallFailedError: 500,
    errors.IdentityUnavailableError: 503,
    errors.DriverError: 500,
    errors.EngineUnavailableError: 503,
    errors.EngineTimeoutError: 503,
    errors.ImageMissingError: 500,
    errors.ContainerMissingError: 500,
    errors.StartFailedError: 500,
    errors.StopFailedError: 500,
    errors.InvalidTransitionError: 500,
    errors.ConfigError: 500,
}

#: what ``web.modern_status`` changes
MODERN_STATUS: Mapping[type[errors.AbacoError], int] = {
    errors.ForbiddenError: 403,
    errors.UnauthenticatedError: 401,
}

#: seconds after which a client may try again when a part of ours does not answer
RETRY_AFTER_S = 1

#: status in the access log when the client left before the answer
CLIENT_GONE = 499

_VERBS = ("GET", "POST", "PUT", "DELETE")
_CORS_METHODS = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"


def status_of(error: errors.AbacoError, *, modern: bool = False) -> int:
    """Return the HTTP status of an error: that of its nearest class in the table."""
    table = {**STATUS, **MODERN_STATUS} if modern else STATUS
    return next(table[cls] for cls in type(error).__mro__ if cls in table)


class BaseHandler(RequestHandler):
    """One request: method, authentication, authorisation, then the verb, then the envelope.

    Attributes:
        caller: Who asks; not set on routes that are open to everybody.
        actor: What the path named, on routes about an actor.
        alias: What the path named, on routes about an alias.
        config: What the path named, on routes about a config.
        target: Key of its permissions and nonces, whichever of them it is.
        leads_to: Id of the actor that is named, or that the alias points to.

    """

    services: Services
    caller: Caller
    actor: Actor
    alias: Alias
    config: ActorConfig
    target: ObjectKey
    leads_to: ActorId

    def initialize(self, services: Services, authenticator: Authenticator, entry: Entry) -> None:
        """Take what the route table hands in.

        Args:
            services: What the operations work with.
            authenticator: Finds out who asks.
            entry: What the table says of the route.

        """
        self.services = services
        self._authenticator = authenticator
        self.entry = entry
        self._connected: asyncio.Timeout | None = None
        self._raised: BaseException | None = None
        self._detail: dict[str, str] = {}
        #: the writing of the audit record and of the answer after it, once that has begun
        self._concluding: asyncio.Future[None] | None = None

    @property
    def case(self) -> Case:
        """How names are spelled in responses."""
        return self.services.settings.web.case

    def set_default_headers(self) -> None:
        """Set what every response has, errors included."""
        # Tornado calls this from its constructor, before ``initialize``, and again on errors.
        self.request_id = getattr(self, "request_id", None) or uuid.uuid4().hex
        self.set_header("Server", "abaco")
        self.set_header("Content-Type", "application/json")
        self.set_header("X-Request-Id", self.request_id)
        origin = self.request.headers.get("Origin")
        self.set_header("Access-Control-Allow-Origin", origin or "*")
        if origin:
            self.set_header("Vary", "Origin")

    def prepare(self) -> Awaitable[None] | None:
        """Refuse wrong methods first, then find out who asks and whether they may."""
        method = self.request.method or ""
        if method not in self.allowed_methods():
            raise HTTPError(405)
        if method == "OPTIONS":
            return None
        # A verb that nobody declared ends here, as a fault of ours.
        right = self.entry.rights[self._verb]
        return None if right.is_open else self._admit(right, is_reading=self._verb == "GET")

    @property
    def _verb(self) -> str:
        """What the route table calls the method."""
        return "GET" if self.request.method == "HEAD" else self.request.method or ""

    async def _admit(self, right: Right, *, is_reading: bool) -> None:
        """Find out who asks and look up what the path names, if they may use it."""
        name = self.path_args[0] if self.path_args else ""
        proof = self._authenticator.authenticate(
            self.request.headers, self.query(), self.request.remote_ip or ""
        )
        self.caller = await self._prove(proof, right, name, is_reading=is_reading)
        match await authorise(self.services, self.caller, right, name):
            case Actor() as actor:
                self.actor, self.target, self.leads_to = actor, actor.key.shared, actor.id
            case ActorConfig() as config:
                self.config, self.target = config, config.shared
            case Alias() as alias:
                self.alias, self.target, self.leads_to = alias, alias.shared, alias.actor_id

    async def check_again(self) -> None:
        """See, in an answer that takes long, that the caller still has the level of the route.

        Raises:
            ForbiddenError: Somebody has taken it away.

        """
        right = self.entry.rights[self._verb]
        await check_kept(self.services, self.caller, self.target, right)

    async def _prove(self, proof: Proof, right: Right, name: str, *, is_reading: bool) -> Caller:
        """Turn what the request brought into the caller it proves."""
        if isinstance(proof, Bearer):
            try:
                return await tokens.identify(self.services, proof.token)
            except errors.UnauthenticatedError:
                if proof.nonce is None:
                    raise
                proof = proof.nonce
        if isinstance(proof, Caller):
            return proof
        return await nonces.redeem(self.services, proof, right, name, is_reading=is_reading)

    def allowed_methods(self) -> list[str]:
        """List the methods this route answers."""
        verbs = [
            verb
            for verb in _VERBS
            if getattr(type(self), verb.lower()) is not getattr(RequestHandler, verb.lower())
        ]
        return sorted([*verbs, "OPTIONS", *(["HEAD"] if "GET" in verbs else [])])

    def head(self, *args: str) -> Awaitable[None] | None:
        """Answer as GET does; Tornado leaves the body out."""
        return self.get(*args)

    def options(self, *args: str) -> None:
        """Answer a CORS preflight."""
        self.clear_header("Content-Type")
        self.set_header("Allow", ", ".join(self.allowed_methods()))
        self.set_header("Access-Control-Allow-Methods", _CORS_METHODS)
        wanted = self.request.headers.get("Access-Control-Request-Headers")
        if wanted:
            self.set_header("Access-Control-Allow-Headers", wanted)

    def query(self) -> Fields:
        """Return all query parameters. Raises InvalidInputError."""
        return read_query(self.request)

    def body(self) -> Body:
        """Return the body, taken apart. Raises InvalidInputError."""
        return read_body(self.request)

    def reply(self, result: Any, message: str) -> None:
        """Answer with a success envelope."""
        self._write_envelope("success", message, result)

    def fail(self, status: int, message: str, result: Any = None) -> None:
        """Answer with an error envelope where nothing was raised."""
        self.set_status(status)
        self._write_envelope("error", message, result)

    def reply_raw(self, content: bytes, content_type: str) -> None:
        """Answer without an envelope."""
        self.set_header("Content-Type", content_type)
        self.finish(content)

    def envelope(self, status: str, message: str, result: Any) -> dict[str, Any]:
        """Return what every response is wrapped in."""
        return {
            "message": message,
            "status": status,
            "version": self.services.settings.general.tag,
            "result": result,
        }

    def _write_envelope(self, status: str, message: str, result: Any) -> None:
        self.finish(json.dumps(self.envelope(status, message, result)))

    def note(self, **detail: object) -> None:
        """Add to what the audit log says of this request; never what opens anything."""
        self._detail |= {name: str(value) for name, value in detail.items()}

    def finish(self, chunk: str | bytes | dict[str, Any] | None = None) -> asyncio.Future[None]:
        """End the answer; one that goes into the audit log waits until the record is there."""
        if self._concluding is None:
            record = self._audit_record()
            if record is None:
                return super().finish(chunk)
            if chunk is not None:
                self.write(chunk)
            self._concluding = asyncio.ensure_future(self._conclude(record))
        return self._concluding

    async def _conclude(self, record: AuditRecord) -> None:
        try:
            await audit.append(self.services, record)
        finally:
            super().finish()

    def _audit_record(self) -> AuditRecord | None:
        """Return what the audit log is to know of this request; None for most."""
        action = self.entry.actions.get(self._verb)
        status = self.get_status()
        outcome = outcome_of(status, self._raised, is_reading=self._verb == "GET")
        if action is None or outcome is None or not hasattr(self, "caller"):
            return None
        scope = self.entry.rights[self._verb].scope
        named = named_object(scope, self.path_args)
        return make_record(
            self.request,
            self.caller,
            now=self.services.clock.now(),
            action=action,
            outcome=outcome,
            status=status,
            object_name=str(self.target) if hasattr(self, "target") else named,
            request_id=self.request_id,
            detail=self._detail,
        )

    @asynccontextmanager
    async def while_connected(self) -> AsyncIterator[None]:
        """Run a block that ends when the client goes away."""
        try:
            async with asyncio.timeout(None) as self._connected:
                yield
        except TimeoutError as error:
            raise HTTPError(CLIENT_GONE, reason="Client Gone") from error
        finally:
            self._connected = None

    def on_connection_close(self) -> None:
        """End the block that ``while_connected`` guards, if one runs."""
        super().on_connection_close()
        if self._connected is not None:
            self._connected.reschedule(asyncio.get_running_loop().time())

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Turn whatever was raised into an envelope."""
        raised = self._raised = kwargs["exc_info"][1] if "exc_info" in kwargs else None
        if isinstance(raised, errors.AbacoError):
            status_code = status_of(raised, modern=self.services.settings.web.modern_status)
        if status_code == 405:
            self.set_header("Allow", ", ".join(self.allowed_methods()))
        if status_code == 503:
            self.set_header("Retry-After", str(RETRY_AFTER_S))
        if isinstance(raised, errors.ThrottledError):
            self.set_header("Retry-After", str(raised.retry_after_s))
        if status_code >= 500 and raised and self.services.settings.web.show_traceback:
            message = "".join(traceback.format_exception(raised))
        else:
            message = self._public_text(status_code, raised)
        self.fail(status_code, message)

    def _public_text(self, status: int, raised: BaseException | None) -> str:
        """Say what went wrong in words that are safe to show."""
        if isinstance(raised, errors.InvalidInputError) and raised.field:
            field = spell(raised.field, self.case)
            return raised.message if field in raised.message else f"{field}: {raised.message}"
        if isinstance(raised, errors.RequestError):
            return raised.message
        if isinstance(raised, errors.BackendError) and raised.retryable:
            return f"{raised.message}; try again later"
        if status == 405:
            allowed = ", ".join(self.allowed_methods())
            return f"method {self.request.method} is not allowed here; allowed: {allowed}"
        if isinstance(raised, HTTPError) and status < 500:
            return raised.log_message or self._reason
        return f"internal error; the server's log has it under request {self.request_id}"

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Log what a person must look at as ERROR, refusals only for debugging."""
        if isinstance(value, errors.RequestError):
            logger.debug("request %s refused: %s %s", self.request_id, value, value.detail)
        elif isinstance(value, HTTPError) and value.status_code < 500:
            logger.debug("request %s refused: %s", self.request_id, value)
        elif isinstance(value, errors.BackendError) and value.retryable:
            logger.warning("request %s failed: %s %s", self.request_id, value, value.detail)
        else:
            detail = value.detail if isinstance(value, errors.AbacoError) else ""
            logger.error(
                "request %s failed %s",
                self.request_id,
                detail,
                exc_info=(typ, value, tb),  # type: ignore[arg-type]
            )

    def compute_etag(self) -> None:
        """Switch off: taking a result is a GET, and must never be answered with 304."""


class UnknownPathHandler(BaseHandler):
    """Every path that no route has."""

    def prepare(self) -> None:
        """Answer before anything else is looked at."""
        raise errors.NotFoundError("there is nothing at this path; /docs shows what there is")


class TooLargeHandler(BaseHandler):
    """Answers requests whose body is above the limit."""

    def initialize(  # type: ignore[override] # one argument more, by name
        self, *, limit_bytes: int, **common: Any
    ) -> None:
        """Take the limit of this kind of request, and what every handler is handed."""
        super().initialize(**common)
        self._limit_bytes = limit_bytes

    def prepare(self) -> None:
        """Answer before anything else is looked at."""
        raise errors.TooLargeError(f"the body is too large; the limit is {self._limit_bytes} bytes")
