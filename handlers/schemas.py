"""Requests: which parameters each route declares, and what becomes of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from abaco.domain.context import CONTENT_TYPE_JSON, CONTENT_TYPE_TEXT
from abaco.domain.ids import ExecutionId
from abaco.domain.message import BINARY_OMITTED, Blob
from abaco.domain.nonce import UNLIMITED
from abaco.domain.permission import Level
from abaco.errors import InvalidInputError
from abaco.operations.configs import ConfigDraft
from abaco.operations.definition import ActorDraft
from abaco.operations.messages import Post
from abaco.operations.nonces import NonceDraft
from handlers import fields
from handlers.jsontext import NotJSONError, parse_json
from handlers.parameters import (
    BINARY_TYPE,
    NONCE_PARAMETER,
    Body,
    Fields,
    gather,
    has_null,
    is_json_type,
)
from handlers.spelling import Case

_NO_TIME = "must be a time with its zone in ISO 8601, like 2026-01-31T12:00:00Z"

_NOTHING: tuple[Any, ...] = ("", {}, [])


class RequestModel(BaseModel):
    """Base of all parameter sets."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: parameters whose repeated form fields make a list
    lists: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def read(cls, body: Body, query: Fields, case: Case) -> Self:
        """Collect and check the declared parameters.

        Raises:
            InvalidInputError: Names the field.

        """
        found = gather(cls.model_fields, body, query, case, lists=cls.lists)
        try:
            return cls(**found)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            text = str(first["msg"]).removeprefix("Value error, ")
            raise InvalidInputError(text, field=str(first["loc"][0])) from error


class ActorRequest(RequestModel):
    """Body of POST /actors and PUT /actors/{id}."""

    lists: ClassVar[frozenset[str]] = frozenset({"hints"})

    image: fields.Text | None = None
    name: fields.Text | None = None
    description: fields.Text | None = None
    stateless: fields.Boolean | None = None
    type: fields.Text | None = None
    token: fields.Boolean | None = None
    link: fields.Text | None = None
    webhook: fields.Text | None = None
    webhook_secret: fields.Text | None = None
    hints: fields.Texts | None = None
    privileged: fields.Boolean | None = None
    max_workers: fields.Integer | None = None
    mem_limit: fields.Text | None = None
    max_cpus: fields.Integer | None = None
    queue: fields.Text | None = None
    use_container_uid: fields.Boolean | None = None
    default_environment: fields.Mapping | None = None
    log_ex: fields.Integer | None = None
    max_run_time: fields.Integer | None = None
    read_only_rootfs: fields.Boolean | None = None
    network: fields.Text | None = None
    cron_schedule: fields.Text | None = None
    cron_on: fields.Boolean | None = None

    def draft(self) -> ActorDraft:
        """Return what the client sent, for the operations."""
        return ActorDraft(**self.model_dump(exclude={"force"}))


class ActorUpdate(ActorRequest):
    """Body of PUT /actors/{id}. A schedule is cleared by null as by an empty text."""

    force: fields.Boolean = False

    @classmethod
    def read(cls, body: Body, query: Fields, case: Case) -> Self:
        """Collect and check the parameters, telling a null schedule from one not sent."""
        request = super().read(body, query, case)
        if request.cron_schedule is None and has_null("cron_schedule", body):
            return request.model_copy(update={"cron_schedule": ""})
        return request


class AliasRequest(RequestModel):
    """Body of POST /actors/aliases and PUT /actors/aliases/{alias}."""

    alias: fields.Text | None = None
    actor_id: fields.Text | None = None


class NonceRequest(RequestModel):
    """Body of POST /actors/{aid}/nonces and POST /actors/aliases/{alias}/nonces."""

    level: fields.Text = Level.EXECUTE.name
    max_uses: fields.Integer = UNLIMITED
    description: fields.Text = ""
    expires_in: fields.Integer | None = None

    def draft(self) -> NonceDraft:
        """Return what the client asked for, for the operations."""
        return NonceDraft(**self.model_dump())


class PermissionRequest(RequestModel):
    """Body of POST .../permissions."""

    user: fields.Text | None = None
    level: fields.Text | None = None


class ConfigRequest(RequestModel):
    """Body of POST /actors/configs and PUT /actors/configs/{name}."""

    name: fields.Text | None = None
    value: fields.Value | None = None
    is_secret: fields.Boolean | None = None
    actors: fields.Text | None = None

    def draft(self) -> ConfigDraft:
        """Return what the client sent, for the operations."""
        return ConfigDraft(**self.model_dump())


class WorkersRequest(RequestModel):
    """Body of POST /actors/{id}/workers."""

    num: fields.Integer = 1


class AuditRequest(RequestModel):
    """Parameters of GET /actors/admin/audit."""

    after: fields.Integer = 0
    since: fields.Text | None = None
    limit: fields.Integer = 100

    def start(self) -> datetime | None:
        """Return the time to begin at.

        Raises:
            InvalidInputError: It is no time, or has no zone.

        """
        if self.since is None:
            return None
        try:
            # the letters in it may be small, see RFC 3339, section 5.6
            time = datetime.fromisoformat(self.since.upper())
        except ValueError as error:
            raise InvalidInputError(_NO_TIME, field="since") from error
        if time.tzinfo is None:
            raise InvalidInputError(_NO_TIME, field="since")
        try:
            return time.astimezone(UTC)
        except OverflowError:  # on the first or the last day there is
            return time.replace(tzinfo=UTC)


class DashboardRequest(RequestModel):
    """Parameters of the dashboard: the actor that the page comes after."""

    tenant: fields.Text | None = None
    actor: fields.Text | None = None


def read_synchronous(query: Fields) -> bool:
    """Tell whether the client waits for the reply. The name has no second spelling.

    Raises:
        InvalidInputError: The value is neither true nor false.

    """
    name = "_abaco_synchronous"
    try:
        return fields.to_boolean(query.get(name, ["false"])[0])
    except ValueError as error:
        raise InvalidInputError(f"{name} {error}") from error


def read_message(body: Body, query: Fields) -> Post:
    """Decide what of a request is the message.

    A parameter ``message`` wins, then the body's type decides; a body of any other type is a
    message if it reads as JSON.

    Raises:
        InvalidInputError: There is no message, or none this release can run.

    """
    environment = _environment_of(query)
    text = _message_parameter(body, query)
    if text is not None:
        return _post(text, CONTENT_TYPE_TEXT, environment)
    if body.is_json:
        return _post(body.json, CONTENT_TYPE_JSON, environment)
    return _post(_parse_other(body), CONTENT_TYPE_TEXT, environment)


def has_text(query: Fields) -> bool:
    """Tell whether the query has the message, whatever the body is."""
    return _message_parameter(Body(), query) is not None


def binary_message(execution_id: ExecutionId, blob: Blob, query: Fields) -> Post:
    """Make a message of a body that was received into a file."""
    return Post(
        body=BINARY_OMITTED,
        content_type=BINARY_TYPE,
        environment=_environment_of(query),
        execution_id=execution_id,
        blob=blob,
    )


def read_json_message(
    value: Any, query: Fields, environment: Mapping[str, str] | None = None
) -> Post:
    """Decode a message that came as a JSON value.

    Args:
        value: The JSON value.
        query: Becomes the environment.
        environment: Wins over the query.

    """
    environment = {**_environment_of(query), **(environment or {})}
    text = message_of(value)
    if text is not None:
        return _post(text, CONTENT_TYPE_TEXT, environment)
    return _post(value, CONTENT_TYPE_JSON, environment)


def message_of(value: Any) -> Any:
    """Return the parameter ``message`` of an object; None when there is none, or an empty one."""
    text = value.get("message") if isinstance(value, Mapping) else None
    return None if text in _NOTHING else text


def read_state(media_type: str, raw: bytes) -> Any:
    """Return the JSON value to become the state.

    A JSON body that does not parse is taken as a string: the published in-container library
    sends strings without quotes, labelled as JSON.

    Raises:
        InvalidInputError: There is no body, or it is of another type.

    """
    if not raw.strip():
        raise InvalidInputError("send the new state as a JSON body", field="state")
    if not is_json_type(media_type):
        raise InvalidInputError(
            "the state must be sent as JSON, with Content-Type application/json", field="state"
        )
    try:
        return parse_json(raw)
    except NotJSONError:
        return raw.decode("utf-8")


def _environment_of(query: Fields) -> dict[str, str]:
    # A nonce is a key to the actor; the rule for what is reserved passes one on, or not.
    left_out = ("message", NONCE_PARAMETER)
    return {name: values[0] for name, values in query.items() if name not in left_out}


def _post(body: Any, content_type: str, environment: Mapping[str, str]) -> Post:
    return Post(body=body, content_type=content_type, environment=environment)


def _message_parameter(body: Body, query: Fields) -> Any:
    sources: list[Mapping[str, Any]] = [
        {name: values[0] for name, values in body.fields.items()},
        {name: values[0] for name, values in query.items()},
    ]
    if isinstance(body.json, dict):
        sources.insert(0, body.json)
    return next((text for text in map(message_of, sources) if text is not None), None)


def _parse_other(body: Body) -> Any:
    try:
        return parse_json(body.raw)
    except InvalidInputError as error:
        raise InvalidInputError(
            "the message cannot be serialized; send a parameter 'message', or JSON with"
            " Content-Type application/json",
            field="message",
        ) from error
