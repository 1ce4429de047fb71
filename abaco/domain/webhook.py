"""Webhooks: which URLs may be one, which addresses may be reached, and how a request is signed.

Whoever can set a webhook makes this server send requests. They must not reach what only this
server can reach, so a receiver needs a public address, unless the operator has named it, or it
is a messages inbox of this very server.

Source: Standard Webhooks 1.0.0 (headers, secrets, signature).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Self
from urllib.parse import SplitResult, unquote, urlsplit

from abaco.errors import InvalidInputError

Address = IPv4Address | IPv6Address

MAX_URL_LENGTH = 2048

SECRET_PREFIX = "whsec_"  # noqa: S105 - tells secrets, is none
#: Units: bytes behind the prefix. Source: Standard Webhooks
MIN_SECRET_BYTES = 24
MAX_SECRET_BYTES = 64

#: how many events lie on the way to a request; a messages inbox goes on counting from there
HOPS_HEADER = "X-Abaco-Event-Hops"

#: networks whose addresses have an IPv4 address at their end, which is where packets go.
#: Source: RFC 6052, RFC 8215
_TRANSLATED = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))

#: characters a URL is written with. Source: RFC 3986
_URL = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")

#: visible letters, figures and signs of a host's name; IPv6 addresses are told apart before
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")

_INBOX = re.compile(r"/actors(?:/v2)?/([^/]+)/messages")

_PORTS = {"http": 80, "https": 443}


def _refuse(text: str) -> InvalidInputError:
    return InvalidInputError(text, field="webhook")


def parse_url(url: str) -> SplitResult:
    """Take a webhook's URL apart.

    Raises:
        InvalidInputError: It cannot be one.

    """
    if len(url) > MAX_URL_LENGTH:
        raise _refuse(f"at most {MAX_URL_LENGTH} characters")
    if not _URL.fullmatch(url):
        raise _refuse("has characters that no URL has; write them as %XX")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _refuse(f"is no URL: {error}") from error
    if parts.scheme not in _PORTS:
        raise _refuse("must begin with http:// or https://")
    if "@" in parts.netloc:
        raise _refuse("must not hold a user or password; a webhook_secret signs the requests")
    if port == 0 or not _is_host(parts.hostname or ""):
        raise _refuse("has no host a request could be sent to")
    return parts


def _is_host(host: str) -> bool:
    return find_address(host) is not None or _HOST.fullmatch(host) is not None


def find_address(host: str) -> Address | None:
    """Return the address if a host is written as one."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def check_secret(secret: str) -> bytes:
    """Return the key a secret stands for.

    Raises:
        InvalidInputError: It is none; the text does not repeat it.

    """
    try:
        if not secret.startswith(SECRET_PREFIX):
            raise ValueError("no prefix")
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not MIN_SECRET_BYTES <= len(key) <= MAX_SECRET_BYTES:
        # without the cause, which may quote it
        raise InvalidInputError(
            f"must be {SECRET_PREFIX} and the base64 of {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES}"
            " random bytes",
            field="webhook_secret",
        ) from None
    return key


def signed_headers(event_id: str, time_s: int, body: bytes, secret: str) -> dict[str, str]:
    """Return the headers receivers tell repeats and forgeries by.

    Args:
        event_id: The same for every attempt.
        time_s: When the request is made, seconds since 1970.
        body: What is sent.
        secret: As the user gave it; "" leaves the signature out.

    """
    headers = {"webhook-id": event_id, "webhook-timestamp": str(time_s)}
    if secret:
        content = f"{event_id}.{time_s}.".encode() + body
        digest = hmac.new(check_secret(secret), content, hashlib.sha256).digest()
        headers["webhook-signature"] = f"v1,{base64.b64encode(digest).decode()}"
    return headers


def is_public(address: Address) -> bool:
    """Tell whether an address leads out into the Internet, wherever it is embedded."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and any(address in network for network in _TRANSLATED):
            inner = IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is not None:
            return is_public(inner)
        if address.teredo is not None:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


@dataclass(frozen=True, slots=True)
class WebhookPolicy:
    """Which receivers may be reached.

    Attributes:
        names: Hosts that may have any address, in lower case.
        networks: Addresses that may be reached though they are not public.
        own_servers: Scheme, host and port under which this server is known.

    """

    names: frozenset[str]
    networks: tuple[object, ...]
    own_servers: frozenset[tuple[str, str, int]]

    @classmethod
    def read(cls, allow: str, api_servers: Iterable[str]) -> Self:
        """Build it from the configured text and base URLs.

        Raises:
            ValueError: An entry is neither a name nor an address nor a network.

        """
        names, networks = set(), []
        for entry in filter(None, (each.strip() for each in allow.split(","))):
            try:
                networks.append(ip_network(entry))
            except ValueError as error:
                if "/" in entry or not _HOST.fullmatch(entry) or entry[-1].isdigit():
                    raise ValueError(f"{entry!r}: {error}") from error
                names.add(entry.lower())
        servers = frozenset(_server(urlsplit(each)) for each in api_servers)
        return cls(frozenset(names), tuple(networks), servers)

    def check(self, url: str) -> None:
        """Refuse at once what can be told without asking for the host's address.

        Raises:
            InvalidInputError: Says why.

        """
        parts = parse_url(url)
        if self.is_own_inbox(url):
            return
        host = (parts.hostname or "").rstrip(".")
        address = find_address(host)
        is_local = host == "localhost" or host.endswith(".localhost")
        if (is_local and host not in self.names) or (
            address is not None and not self.may_reach(host, address)
        ):
            raise _refuse(
                "a webhook must lead to a public address; the operator can allow others with"
                " [runtime] webhook_allow"
            )

    def may_reach(self, host: str, address: Address) -> bool:
        """Tell whether a request to this host may go to this address."""
        if is_public(address) or host.rstrip(".").lower() in self.names:
            return True
        return any(address in network for network in self.networks)  # type: ignore[operator]

    def is_own_inbox(self, url: str) -> bool:
        """Tell whether a URL is that of an actor's messages here."""
        parts = parse_url(url)
        match = _INBOX.fullmatch(parts.path)
        if match is None or _server(parts) not in self.own_servers:
            return False
        name = unquote(match[1])
        # what somebody on the way may read as another path is none of ours
        return name not in {".", ".."} and not {"/", "\\"} & set(name)


def _server(parts: SplitResult) -> tuple[str, str, int]:
    return parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)


def read_hops(headers: Mapping[str, str], most: int) -> int:
    """Return how many events lie behind a request; what is no number counts as none.

    A client that lies reaches less: more than ``most`` are as good as that many.
    """
    text = headers.get(HOPS_HEADER, "")
    return min(int(text), most) if re.fullmatch("[0-9]{1,3}", text) else 0
