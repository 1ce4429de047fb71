"""The contract of what sends events to receivers outside."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Verdict(StrEnum):
    """What a request has come to."""

    #: the receiver has it
    DELIVERED = "delivered"
    #: perhaps it has, perhaps not; the same again may help
    UNCERTAIN = "uncertain"
    #: the same again would not help
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Answer:
    """The verdict and, for the log, why; never a URL, a header or a body."""

    verdict: Verdict
    reason: str


class WebhookSender(Protocol):
    """Sends one request at a time; never raises for what a network or a receiver does."""

    @abstractmethod
    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """POST a JSON body, with a timeout, without following redirects.

        The addresses of the host are looked up anew, and only ones that are allowed are
        connected to; certificates are checked against the host's name.
        """
