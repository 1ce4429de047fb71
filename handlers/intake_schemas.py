"""Requests around messages: batches, idempotency keys, waiting and following."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tornado.httputil import HTTPHeaders

from abaco.errors import InvalidInputError
from abaco.operations.intake import Post
from handlers import fields
from handlers.parameters import Body, Fields
from handlers.schemas import message_of, read_json_message, read_synchronous
from handlers.streams import END_ID

IDEMPOTENCY_HEADER = "Idempotency-Key"

_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_OFFSET = re.compile(r"[0-9]{1,18}")


def read_key(headers: HTTPHeaders) -> str | None:
    """Return the idempotency key, if the client sent one.

    Raises:
        InvalidInputError: It sent several.

    """
    found = headers.get_list(IDEMPOTENCY_HEADER)
    if len(found) > 1:
        raise InvalidInputError(f"more than one {IDEMPOTENCY_HEADER}")
    return found[0].strip() if found else None


def read_batch(body: Body, query: Fields, *, limit: int) -> list[Post]:
    """Decode a batch: ``{"messages": [...]}``.

    Each item is what the body of a single JSON message would be; beside ``message`` it may have
    ``environment``, variables of its own that win over those of the query.

    Raises:
        InvalidInputError: Names the field, and the number of the item, from 0.

    """
    if read_synchronous(query):
        raise InvalidInputError("_abaco_synchronous: nobody can wait for a batch")
    if not (body.is_json and isinstance(body.json, dict)):
        raise InvalidInputError('send a JSON object with the key "messages"', field="messages")
    items = body.json.get("messages")
    if not isinstance(items, list) or not 0 < len(items) <= limit:
        raise InvalidInputError(f"must be a list of 1 to {limit} messages", field="messages")
    return [_read_item(number, item, query) for number, item in enumerate(items)]


def _read_item(number: int, item: Any, query: Fields) -> Post:
    if message_of(item) is None:  # all of it is the message
        return read_json_message(item, query)
    environment = _read_environment(number, item.get("environment"))
    return read_json_message(item, query, environment)


def _read_environment(number: int, sent: Any) -> Mapping[str, str]:
    if sent is None:
        return {}
    if not isinstance(sent, dict):
        raise InvalidInputError(
            f"item {number}: environment must be a JSON object", field="messages"
        )
    try:
        return {name: fields.to_text(value) for name, value in sent.items()}
    except ValueError as error:
        raise InvalidInputError(
            f"item {number}: a value in environment {error}", field="messages"
        ) from error


def read_wait(query: Fields, *, limit_s: float) -> float | None:
    """Return the seconds a client is ready to wait, at most the limit; None when it is not.

    Raises:
        InvalidInputError: The value is no number of seconds.

    """
    text = query.get("wait", [""])[0]
    if "wait" not in query:
        return None
    if not _SECONDS.fullmatch(text):
        raise InvalidInputError("must be a number of seconds", field="wait")
    return min(float(text), limit_s)


def read_follow(query: Fields) -> bool | None:
    """Tell whether a log is to be followed; None when the client says nothing.

    Raises:
        InvalidInputError: The value is neither true nor false.

    """
    if "follow" not in query:
        return None
    try:
        return fields.to_boolean(query["follow"][0])
    except ValueError as error:
        raise InvalidInputError(str(error), field="follow") from error


def read_offset(headers: HTTPHeaders) -> int | None:
    """Return the byte a log is to be followed from; None when the client has seen its end.

    Raises:
        InvalidInputError: The header has no id of ours.

    """
    text = headers.get("Last-Event-ID", "") or "0"
    if text == END_ID:
        return None
    if not _OFFSET.fullmatch(text):
        raise InvalidInputError("Last-Event-ID is the id of no event of this log")
    return int(text)
