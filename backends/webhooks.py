"""Sending events to receivers outside, with Tornado's client."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from tornado.httpclient import HTTPError, HTTPRequest
from tornado.netutil import Resolver
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from abaco import __version__
from abaco.domain.webhook import WebhookPolicy, find_address
from abaco.ports.webhooks import Answer, Verdict, WebhookSender

_log = logging.getLogger(__name__)

#: a family and what ``connect`` takes with it
Place = tuple[int, tuple[Any, ...]]
LookUp = Callable[[str, int], Awaitable[list[Place]]]

#: requests on their way at once; who sends holds to fewer
MAX_REQUESTS = 256
#: what a receiver answers is not read further
MAX_ANSWER_BYTES = 1024 * 1024
#: seconds requests on their way get when the server stops
CLOSE_GRACE_S = 0.5
#: part of the time for a request that looking up an address may take
_LOOK_UP_SHARE = 0.5

#: answers after which the same request may do better. Source: RFC 9110, RFC 8470, RFC 6585
_RETRIED = frozenset({408, 425, 429})


class AddressRefusedError(OSError):
    """Every address of the host is one that must not be reached."""


async def look_up(host: str, port: int) -> list[Place]:
    """Ask the system for a host's addresses, on a thread that no exit waits for."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[Place]] = loop.create_future()

    def settle(places: list[Place] | None, error: OSError | None) -> None:
        if answer.done():  # given up meanwhile
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(places or [])

    def ask() -> None:
        places: list[Place] | None = None
        failure: OSError | None = None
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            places = [(family, place) for family, _, _, _, place in found]
        except OSError as error:
            failure = error
        except UnicodeError:
            failure = OSError(f"{host!r} is no host's name")
        try:
            loop.call_soon_threadsafe(settle, places, failure)
        except RuntimeError:
            _log.debug("nobody waits for the address of %s any more", host)

    threading.Thread(target=ask, name="abaco-look-up", daemon=True).start()
    return await answer


class GuardedResolver(Resolver):
    """Gives out only addresses that may be connected to; what it gives is what is connected to.

    Args:
        policy: Which those are.
        find: Looks addresses up.
        timeout_s: Seconds for that.

    """

    def initialize(self, policy: WebhookPolicy, find: LookUp, timeout_s: float) -> None:
        """Take what the constructor was given; Tornado's classes are built that way."""
        self._policy = policy
        self._find = find
        self._timeout_s = timeout_s

    def close(self) -> None:
        """Hold nothing, so that there is nothing to give up."""

    async def resolve(
        self, host: str, port: int, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[Place]:
        """Look a host up and leave out what must not be reached.

        Raises:
            AddressRefusedError: Nothing is left.
            OSError: There is nothing to be found.

        """
        try:
            async with asyncio.timeout(self._timeout_s):
                found = await self._find(host, port)
        except TimeoutError as error:
            raise OSError("no answer to the question for its address") from error
        if not found:
            raise OSError("it has no address")
        allowed = [place for place in found if self._may_reach(host, place)]
        if not allowed:
            raise AddressRefusedError("its address is not public")
        return allowed

    def _may_reach(self, host: str, place: Place) -> bool:
        # a link-local IPv6 address comes with the name of an interface
        address = find_address(str(place[1][0]).partition("%")[0])
        return address is not None and self._policy.may_reach(host, address)


class FreeResolver(GuardedResolver):
    """Gives out every address: for this server's own inboxes."""

    def _may_reach(self, host: str, place: Place) -> bool:
        return True


class HttpWebhookSender(WebhookSender):
    """Sends over HTTP and HTTPS.

    Args:
        policy: Which receivers may be reached.
        timeout_s: Seconds a request may take, from the first question to the last byte.
        find: Looks addresses up.
        ca_certs: File with the certificates of authorities, instead of the system's.

    """

    def __init__(
        self,
        policy: WebhookPolicy,
        timeout_s: float,
        *,
        find: LookUp = look_up,
        ca_certs: str | None = None,
    ) -> None:
        self._policy = policy
        self._timeout_s = timeout_s
        self._ca_certs = ca_certs
        look_up_s = timeout_s * _LOOK_UP_SHARE
        self._guarded = _make_client(GuardedResolver(policy, find, look_up_s))
        self._free = _make_client(FreeResolver(policy, find, look_up_s))
        #: they go on when nobody waits for them any more
        self._requests: set[asyncio.Future[Any]] = set()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """POST a JSON body."""
        lines: list[str] = []
        request = HTTPRequest(
            url,
            method="POST",
            body=body,
            headers={**headers, "Content-Type": "application/json"},
            user_agent=f"Abaco/{__version__}",
            connect_timeout=self._timeout_s,
            request_timeout=self._timeout_s,
            follow_redirects=False,
            decompress_response=False,
            header_callback=lines.append,
            streaming_callback=lambda _: None,
            ca_certs=self._ca_certs,
        )
        client = self._free if self._policy.is_own_inbox(url) else self._guarded
        answer = asyncio.ensure_future(client.fetch(request, raise_error=False))
        self._requests.add(answer)
        answer.add_done_callback(self._ended)
        # Tornado cannot take a request back: it runs to its end, which its time limit brings
        await asyncio.wait([answer])
        status = _read_status(lines)
        if status is not None:  # whatever became of the rest of the answer
            return judge(status)
        error = answer.exception()
        if isinstance(error, AddressRefusedError):
            return Answer(Verdict.REFUSED, str(error))
        if error is None or isinstance(error, HTTPError | OSError):
            return Answer(Verdict.UNCERTAIN, _describe(error))
        raise error

    def _ended(self, answer: asyncio.Future[Any]) -> None:
        self._requests.discard(answer)
        if not answer.cancelled():
            answer.exception()  # seen, if only here

    async def close(self) -> None:
        """Make no more requests; those on their way get a moment to end."""
        if self._requests:
            await asyncio.wait(self._requests, timeout=CLOSE_GRACE_S)
        self._guarded.close()
        self._free.close()


def _make_client(resolver: Resolver) -> SimpleAsyncHTTPClient:
    return SimpleAsyncHTTPClient(
        force_instance=True,
        resolver=resolver,
        max_clients=MAX_REQUESTS,
        max_body_size=MAX_ANSWER_BYTES,
    )


def _read_status(lines: list[str]) -> int | None:
    """Return the status of the last answer whose head has begun to come."""
    found = [line.split(" ", 2)[1] for line in lines if line.startswith("HTTP/")]
    return int(found[-1]) if found else None


def judge(status: int) -> Answer:
    """Tell what a status means for the event."""
    reason = f"it answered {status}"
    if 200 <= status < 300:
        return Answer(Verdict.DELIVERED, reason)
    if status >= 500 or status in _RETRIED:
        return Answer(Verdict.UNCERTAIN, reason)
    return Answer(Verdict.REFUSED, reason)


def _describe(error: BaseException | None) -> str:
    if isinstance(error, HTTPError):
        return error.message or "the connection ended"
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__
    return "no answer"
