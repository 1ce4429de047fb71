"""Requests to an authorization server, and what their failures mean."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote_plus, urlencode

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest, HTTPResponse

from abaco.errors import TokenRefusedError, TokenUnavailableError
from backends.tokens.clients import Grant

#: longest answer that is read
MAX_ANSWER_BYTES = 1_048_576

#: answers after which the same request may pass later
_LATER = frozenset({408, 425, 429})

#: error codes as the standards spell them; anything else a server writes may hold a secret
_CODE = re.compile(r"[a-z_]{1,64}")


def basic(user: str, password: str, *, is_form: bool = True) -> str:
    """Return the header for a user and password.

    Args:
        user: Or the id of a client.
        password: Or its secret.
        is_form: Encode both first, as clients do. Source: RFC 6749 section 2.3.1.

    """
    pair = (quote_plus(user), quote_plus(password)) if is_form else (user, password)
    return f"Basic {base64.b64encode(':'.join(pair).encode()).decode()}"


class Endpoint:
    """Speaks to a server. Redirects are not followed: they would take secrets elsewhere.

    Args:
        timeout_s: For each request.

    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._client = AsyncHTTPClient(force_instance=True, max_body_size=MAX_ANSWER_BYTES)

    def close(self) -> None:
        """Give up connections."""
        self._client.close()

    async def send(
        self,
        method: str,
        url: str,
        *,
        authorization: str | None = None,
        form: Mapping[str, str] | None = None,
        json_body: Any = None,
        gone: frozenset[int] = frozenset(),
    ) -> dict[str, Any]:
        """Send a request and return the object that is answered; {} for none.

        Args:
            method: Of HTTP.
            url: Where to.
            authorization: The header.
            form: The body as a form.
            json_body: The body as JSON.
            gone: Statuses that say that what is to be deleted is gone.

        Raises:
            TokenUnavailableError: No answer, or one that says "not now".
            TokenRefusedError: Any other that is no success.

        """
        headers = {"Accept": "application/json"}
        body = None
        if authorization is not None:
            headers["Authorization"] = authorization
        if form is not None:
            headers["Content-Type"], body = "application/x-www-form-urlencoded", urlencode(form)
        elif json_body is not None:
            headers["Content-Type"], body = "application/json", json.dumps(json_body)
        request = HTTPRequest(
            url,
            method=method,
            headers=headers,
            body=body,
            request_timeout=self._timeout_s,
            connect_timeout=self._timeout_s,
            follow_redirects=False,
            allow_nonstandard_methods=True,
        )
        try:
            answer = await self._client.fetch(request, raise_error=False)
        except (HTTPClientError, OSError) as error:
            raise _unavailable(url) from error
        return _read(url, answer, gone)


def _read(url: str, answer: HTTPResponse, gone: frozenset[int]) -> dict[str, Any]:
    if answer.code in gone:
        return {}
    if answer.code >= 500 or answer.code in _LATER:
        raise _unavailable(url)
    try:
        found = json.loads(answer.body or b"{}")
    except ValueError:
        found = None
    if not 200 <= answer.code < 300:
        code = found.get("error") if isinstance(found, dict) else None
        reason = code if isinstance(code, str) and _CODE.fullmatch(code) else answer.code
        raise TokenRefusedError(f"the authorization server refused: {reason}", detail=url)
    if not isinstance(found, dict):
        raise _unavailable(url)
    return found


def _unavailable(url: str) -> TokenUnavailableError:
    return TokenUnavailableError("the authorization server does not answer", detail=url)


def read_grant(answer: Mapping[str, Any]) -> Grant:
    """Read what a token endpoint answered. Source: RFC 6749 section 5.1.

    Raises:
        TokenRefusedError: There is no token in it.

    """
    token, refresh = answer.get("access_token"), answer.get("refresh_token")
    expires_in = answer.get("expires_in")
    if not isinstance(token, str) or not token:
        raise TokenRefusedError("the authorization server answered without a token")
    if isinstance(expires_in, str) and expires_in.isdecimal():  # as some servers write it
        expires_in = int(expires_in)
    has_expiry = isinstance(expires_in, int | float) and not isinstance(expires_in, bool)
    return Grant(
        access_token=token,
        refresh_token=refresh if isinstance(refresh, str) and refresh else None,
        expires_in_s=float(expires_in) if has_expiry else None,  # type: ignore[arg-type]
    )
