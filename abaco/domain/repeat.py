"""When a request is a repeat of an earlier one: the client's key, and what must be the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from abaco.domain.context import is_reserved
from abaco.errors import InvalidInputError

MAX_KEY_LENGTH = 255


class Sent(NamedTuple):
    """What of one message its container can see; of a blob, its digest."""

    body: Any
    content_type: str
    environment: Mapping[str, str]


def check_key(text: str) -> None:
    """Refuse what is no idempotency key.

    Raises:
        InvalidInputError: Says what one looks like.

    """
    if not (0 < len(text) <= MAX_KEY_LENGTH and text.isascii() and text.isprintable()):
        raise InvalidInputError(
            f"Idempotency-Key must be 1 to {MAX_KEY_LENGTH} printable ASCII characters"
        )


def digest_of(kind: str, messages: Iterable[Sent]) -> str:
    """Return a digest that two requests share exactly when one is a repeat of the other.

    Variables only the server sets are left out: how long the client waits for an answer, and what
    it proved itself with, may change from one try to the next.

    Args:
        kind: Of request; a batch of one is no repeat of a single message.
        messages: What was sent, in order.

    """
    content = [[sent.body, sent.content_type, _visible(sent.environment)] for sent in messages]
    text = json.dumps([kind, content], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _visible(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not is_reserved(name)}
