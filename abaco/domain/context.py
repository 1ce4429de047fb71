"""The environment of an execution's container: names, precedence, encoding, size.

Source: the container contract of the older Abaco (variables, Python text form) and Linux'
``MAX_ARG_STRLEN`` (one ``NAME=value`` string with its terminator: 131072 bytes).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from abaco.domain.actor import Actor
from abaco.domain.ids import WorkerId
from abaco.domain.message import Message
from abaco.errors import InvalidInputError, TooLargeError

#: longest ``NAME=value`` in bytes, without the terminator
MAX_VARIABLE_BYTES = 131_071
#: bound for all variables together; the kernel's is a quarter of the stack limit (8 MiB)
MAX_ENVIRONMENT_BYTES = 1_900_000

CONTENT_TYPE_TEXT = "str"
CONTENT_TYPE_JSON = "application/json"
CONTENT_TYPE_BINARY = "application/octet-stream"

#: where a container finds a message that came as a file
BINARY_DATA = "/_abaco_binary_data"
#: where it sends its results, one to a datagram
RESULTS_SOCKET = "/_abaco_results.sock"
#: where it may leave files that become results when it ends
RESULTS_DIRECTORY = "/_abaco_results.d"

#: parameters of a message that may be passed on, when the server itself says so
NONCE_VARIABLE = "x-nonce"
SYNCHRONOUS_VARIABLE = "_abaco_synchronous"

_PASSED_ON = frozenset({NONCE_VARIABLE, SYNCHRONOUS_VARIABLE})

#: where it finds the certificates it is to trust, and the variables that libraries look for
CA_BUNDLE = "/_abaco_ca_bundle.pem"
_TRUST = {"REQUESTS_CA_BUNDLE": CA_BUNDLE, "SSL_CERT_FILE": CA_BUNDLE}

_RESERVED_PREFIXES = ("_abaco_", "_actor_configs")
_RESERVED_NAMES = frozenset({"MSG", NONCE_VARIABLE})
#: what a sender asks the program for, in a name of the contract
_OPEN_NAMES = frozenset({"_abaco_executor_errors"})


def is_reserved(name: str) -> bool:
    """Tell whether only the server may set this variable."""
    if name in _OPEN_NAMES:
        return False
    return name in _RESERVED_NAMES or name.startswith(_RESERVED_PREFIXES)


def python_text(value: Any) -> str:
    """Render a JSON value as the older Abaco does: Python's own text form, strings as is."""
    return value if isinstance(value, str) else repr(value)


def build_environment(
    actor: Actor,
    message: Message,
    worker_id: WorkerId,
    *,
    access_token: str,
    configs: Mapping[str, str] | None = None,
    has_json: bool = False,
    has_ca_bundle: bool = False,
) -> dict[str, str]:
    """Build the complete environment of one execution.

    Precedence, lowest first: what names the bundle of certificates, default environment, query
    parameters, server variables, MSG. A None in the default environment leaves the name out. A
    binary message has no MSG; that of another message with a blob is empty, and
    ``_abaco_msg_file`` says where its text is.

    Args:
        actor: As read for this execution.
        message: The intake kept reserved names out of its environment, but for what it put there.
        worker_id: Who runs it.
        access_token: Of the owner; may be empty.
        configs: Name to value, secrets in the clear.
        has_ca_bundle: Name the certificates that the container is given.
        has_json: Add what is no text a second time, as JSON, where there is room.

    Raises:
        TooLargeError: A variable, or all together, do not fit the kernel's limits.
        InvalidInputError: A variable cannot be one (NUL, lone surrogate, bad name).

    """
    environment = {
        **_user_variables(actor, message, _TRUST if has_ca_bundle else {}),
        **_sender_variables(message),
        "_abaco_access_token": access_token,
        "_abaco_actor_dbid": actor.key.dbid,
        "_abaco_actor_id": actor.id,
        "_abaco_worker_id": worker_id,
        "_abaco_container_repo": actor.definition.image,
        "_abaco_actor_state": python_text(actor.state),
        "_abaco_actor_name": str(actor.definition.name),
        "_actor_configs": python_text(dict(configs or {})),
        **_message_variables(message),
    }
    total = check_environment(environment)
    if has_json:
        _add_json(environment, total, actor, message, dict(configs or {}))
    return environment


def _add_json(
    environment: dict[str, str], total: int, actor: Actor, message: Message, configs: dict[str, str]
) -> None:
    """Add the variables that are JSON, except for what would not fit: none of them is needed."""
    values = {"_abaco_actor_state_json": actor.state, "_actor_configs_json": configs}
    if message.blob is None:
        values = {"_abaco_msg_json": message.body, **values}
    for name, value in values.items():
        text = json.dumps(value)  # is ASCII, whatever is in it
        size = len(name) + 1 + len(text)
        if size <= MAX_VARIABLE_BYTES and total + size + 1 <= MAX_ENVIRONMENT_BYTES:
            environment[name] = text
            total += size + 1


def _user_variables(actor: Actor, message: Message, trust: Mapping[str, str]) -> dict[str, str]:
    """Return what the actor's owner and the sender have chosen over ours; the sender wins."""
    environment = {
        name: python_text(value)
        for name, value in {**trust, **actor.definition.default_environment}.items()
        if value is not None and not is_reserved(name)
    }
    environment.update(
        (name, value)
        for name, value in message.environment.items()
        if name in _PASSED_ON or not is_reserved(name)
    )
    return environment


def _sender_variables(message: Message) -> dict[str, str]:
    environment = {
        "_abaco_username": message.username,
        "_abaco_api_server": message.api_server,
        "_abaco_execution_id": message.execution_id,
        "_abaco_Content_Type": message.content_type,
        "_abaco_Content-Type": message.content_type,
        "_abaco_actor_revision": str(message.revision),
    }
    if message.jwt_header:
        environment["_abaco_jwt_header_name"] = message.jwt_header
    return environment


def _message_variables(message: Message) -> dict[str, str]:
    if message.blob is None:
        return {"MSG": python_text(message.body)}
    if message.content_type == CONTENT_TYPE_BINARY:
        return {}
    return {"MSG": "", "_abaco_msg_file": BINARY_DATA}


def check_environment(environment: Mapping[str, str]) -> int:
    """Refuse what the kernel would refuse; return the bytes of all variables.

    Raises:
        TooLargeError: Names the variable and its limit.
        InvalidInputError: Names the variable.

    """
    total = 0
    for name, value in environment.items():
        label = "message" if name == "MSG" else name
        if not name or "=" in name:
            raise InvalidInputError(f"{name!r} cannot be the name of a variable", field=name)
        try:
            name_bytes, value_bytes = len(name.encode()), len(value.encode())
        except UnicodeEncodeError as error:
            raise InvalidInputError(
                f"{label!r} has a lone surrogate, which is no text", field=label
            ) from error
        if "\0" in name or "\0" in value:
            raise InvalidInputError(
                f"{label!r} has a NUL character, which no variable can hold", field=label
            )
        size = name_bytes + 1 + value_bytes
        if size > MAX_VARIABLE_BYTES:
            raise TooLargeError(
                f"{label} is too large for a container's environment: {value_bytes} bytes,"
                f" the limit is {MAX_VARIABLE_BYTES - name_bytes - 1}"
            )
        total += size + 1
    if total > MAX_ENVIRONMENT_BYTES:
        raise TooLargeError(
            f"the environment is too large: {total} bytes, the limit is {MAX_ENVIRONMENT_BYTES};"
            " shorten the message, default_environment, state or configs"
        )
    return total
