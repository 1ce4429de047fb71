"""A small client of the HTTP API.

It speaks to servers of either spelling: keys of objects come back in snake case.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urlencode

import click
import urllib3
from sseclient import Event, SSEClient

#: seconds to reach the server, and to wait for an answer that is not meant to take long
CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 60.0

#: what OpenSSL says when a certificate is good, and for somebody else.
#: Source: X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH of x509_vfy.h
_WRONG_NAME = frozenset({62, 64})

#: how a server begins its answer to a request that brings no proof of who asks
NO_CREDENTIALS = "no JWT or nonce"
_PROOF_HINT = "Name the file with your token by --token-file or ABACO_TOKEN_FILE."

EVENT_STREAM = "text/event-stream"
BINARY_TYPE = "application/octet-stream"


class ClientError(click.ClickException):
    """The server could not be asked, or said no. Ends the command with exit code 1."""

    exit_code = 1


class UnreachableError(ClientError):
    """Nobody answers at the URL."""


class BadUrlError(ClientError):
    """The URL is none a server could have. Ends the command with exit code 2."""

    exit_code = 2


class BadTrustError(ClientError):
    """The certificates to trust cannot be read. Ends the command with exit code 2."""

    exit_code = 2


class ApiError(ClientError):
    """The server answered with an error.

    Attributes:
        status: The HTTP status.
        retry_after_s: Whole seconds after which the server wants to be asked again; 1 when it does
            not say.

    """

    def __init__(self, status: int, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__(f"{message} (HTTP {status})")
        self.status = status
        self.retry_after_s = retry_after_s

    def format_message(self) -> str:
        """Say on the command line, besides, what of it gives the proof that was missing."""
        if self.message.startswith(NO_CREDENTIALS):
            return f"{self.message}\n{_PROOF_HINT}"
        return self.message


#: query parameters; a list of pairs where names repeat
Query = Mapping[str, str] | Sequence[tuple[str, str]]


class AbacoClient:
    """One server as one caller sees it.

    Args:
        url: Base URL without ``/actors``.
        headers: Sent with every request; carries the proof of who calls.
        ca: File with the certificates of authorities to trust, instead of this machine's own.
        connections: Kept open at most; as many threads may use it without waste.

    Raises:
        BadUrlError: It is no HTTP URL.
        BadTrustError: The file cannot be used.

    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        ca: Path | None = None,
        connections: int = 1,
    ) -> None:
        self.url = _checked(url).rstrip("/")
        self._headers = {"Accept": "application/json", **(headers or {})}
        self._pool = urllib3.PoolManager(
            retries=False,
            maxsize=connections,
            timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S),
            ssl_context=_trust(ca) if self.url.lower().startswith("https:") else None,
        )

    def get(self, *path: str) -> Any:
        """Return the ``result`` of a GET. Path parts are quoted here."""
        return self.request("GET", path)

    def request(
        self,
        method: str,
        path: Sequence[str],
        *,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        body: Any = ...,
        as_sent: bool = False,
    ) -> Any:
        """Send a request and return the ``result`` of the answer.

        Args:
            method: HTTP method.
            path: Parts below ``/actors``, unquoted.
            query: Query parameters.
            headers: Sent besides those of every request.
            body: JSON value to send; without it the request has no body.
            as_sent: Leave the keys of the answer alone: they are names that users chose.

        Raises:
            UnreachableError: Nobody answers.
            ApiError: The answer is an error.

        """
        sent, content = {**self._headers, **(headers or {})}, None
        if body is not ...:
            sent["Content-Type"] = "application/json"
            content = json.dumps(body).encode()
        response = self._send(method, self._url(path, query), headers=sent, body=content)
        result = self._result(response)
        return result if as_sent else snake_keys(result)

    def upload(
        self,
        path: Sequence[str],
        body: IO[bytes],
        size_bytes: int,
        *,
        query: Mapping[str, str],
        headers: Mapping[str, str],
    ) -> Any:
        """Send a file as it is, piece by piece, and return the ``result`` of the answer.

        Raises:
            UnreachableError: Nobody answers.
            ApiError: The answer is an error.

        """
        sent = {
            **self._headers,
            **headers,
            "Content-Type": BINARY_TYPE,
            "Content-Length": str(size_bytes),
        }
        response = self._send("POST", self._url(path, query), headers=sent, body=body)
        return snake_keys(self._result(response))

    def take(self, *path: str) -> bytes:
        """Return the bytes a GET answers with instead of an envelope.

        Raises:
            UnreachableError: Nobody answers.
            ApiError: The answer is an error.

        """
        response = self._send("GET", self._url(path, None), headers=self._headers)
        if response.status >= 400:
            self._result(response)
        return response.data

    def events(
        self, path: Sequence[str], *, query: Mapping[str, str], headers: Mapping[str, str]
    ) -> Iterator[Event]:
        """Yield the server-sent events of a GET as they come.

        Raises:
            UnreachableError: Nobody answers, or the connection is lost.
            ApiError: The answer is an error, or no stream of events.

        """
        sent = {**self._headers, **headers, "Accept": EVENT_STREAM}
        url = self._url(path, query)
        response = self._send("GET", url, headers=sent, preload_content=False)
        try:
            if not response.headers.get("Content-Type", "").startswith(EVENT_STREAM):
                self._result(response)
                raise ApiError(response.status, f"{self.url} sends no events")
            yield from SSEClient(response.stream()).events()
        except urllib3.exceptions.HTTPError as error:
            raise self._unreachable(error) from error
        finally:
            response.close()

    def _url(self, path: Sequence[str], query: Query | None) -> str:
        url = "/".join([self.url, "actors", *(quote(part, safe="") for part in path)])
        return f"{url}?{urlencode(query)}" if query else url

    def _send(self, method: str, url: str, **options: Any) -> urllib3.BaseHTTPResponse:
        try:
            return self._pool.request(method, url, **options)
        except urllib3.exceptions.HTTPError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: urllib3.exceptions.HTTPError) -> UnreachableError:
        if isinstance(error, urllib3.exceptions.SSLError):
            return UnreachableError(_tls_fault(self.url, error))
        if isinstance(error, urllib3.exceptions.ProtocolError) and self.url.startswith("http:"):
            return UnreachableError(
                f"{self.url} hung up: {_reason(error)}.\n"
                "If it speaks HTTPS, its URL begins with https:// (--url or ABACO_URL)."
            )
        return UnreachableError(
            f"no answer from {self.url}: {_reason(error)}.\n"
            "Start a server with `abaco serve`, or name another with --url or ABACO_URL."
        )

    def _result(self, response: urllib3.BaseHTTPResponse) -> Any:
        try:
            envelope = json.loads(response.data)
            message, result = envelope["message"], envelope["result"]
        except (ValueError, KeyError, TypeError) as error:
            raise ApiError(
                response.status, f"{self.url} does not answer like an Abaco server"
            ) from error
        if response.status >= 400:
            wait = response.headers.get("Retry-After", "")
            retry_after_s = int(wait) if wait.isascii() and wait.isdigit() else 1
            raise ApiError(response.status, str(message), retry_after_s=retry_after_s)
        return result


def _checked(url: str) -> str:
    try:
        parsed = urllib3.util.parse_url(url)
    except urllib3.exceptions.LocationParseError:
        parsed = urllib3.util.Url()
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise BadUrlError(
            f"{url!r} is no URL of a server; write it like http://127.0.0.1:8000 (--url or"
            " ABACO_URL)"
        )
    return url


def _trust(ca: Path | None) -> ssl.SSLContext:
    """Return what servers are verified with: this file, or what OpenSSL finds by itself."""
    try:
        return ssl.create_default_context(cafile=ca)
    except ssl.SSLError as error:
        raise BadTrustError(f"{ca} has no certificate in PEM form (--ca or ABACO_CA)") from error
    except OSError as error:
        raise BadTrustError(
            f"the certificates {ca} cannot be read: {error.strerror} (--ca or ABACO_CA)"
        ) from error


def snake_keys(result: Any) -> Any:
    """Spell the keys of an object, of a list's objects and of summary items in snake case.

    What lies deeper belongs to users (state, environment, the engine's own words) and stays.
    """
    if isinstance(result, list):
        return [snake_keys(item) for item in result]
    if not isinstance(result, dict):
        return result
    spelled = {_snake(key): value for key, value in result.items()}
    if isinstance(spelled.get("executions"), list):
        spelled["executions"] = snake_keys(spelled["executions"])
    return spelled


def _snake(key: str) -> str:
    return key if key.startswith("_") else re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", key).lower()


def _tls_fault(url: str, error: urllib3.exceptions.SSLError) -> str:
    cause = error.args[0] if error.args else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        fault = f"{url} is not trusted: {cause.verify_message.rstrip('.')}.\n"
        if cause.verify_code in _WRONG_NAME:
            return f"{fault}Call the server by a name its certificate has (--url or ABACO_URL)."
        return f"{fault}Name the file with its authority's certificate with --ca or ABACO_CA."
    return f"{url} does not speak TLS as it should; is it an http URL?"


def _reason(error: urllib3.exceptions.HTTPError) -> str:
    """Say what happened without the object addresses of the library's text."""
    match error:
        case urllib3.exceptions.NameResolutionError():
            return "the name of the host is not known"
        case urllib3.exceptions.ReadTimeoutError():
            return f"no answer within {READ_TIMEOUT_S:g} s"
        case urllib3.exceptions.NewConnectionError():
            cause = error.__cause__
            return str(cause.strerror if isinstance(cause, OSError) else cause).lower()
        case urllib3.exceptions.ConnectTimeoutError():
            return f"no connection within {CONNECT_TIMEOUT_S:g} s"
    return type(error).__name__
