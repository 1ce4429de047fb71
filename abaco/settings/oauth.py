"""Where access tokens of executions come from when an authorization server makes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, SecretStr

from abaco.settings.section import Section

_URL = r"^https?://[^\s?#]+$"


class OauthSettings(Section):
    """The authorization server behind [runtime] token_provider oauth2 or oauth_clients."""

    tenant_forms: ClassVar[Mapping[str, str]] = {
        name: name for name in ("issuer", "server", "username", "password")
    }

    issuer: str | None = Field(
        None,
        pattern=_URL,
        description="URL of the authorization server of oauth2, as its metadata (RFC 8414) names"
        " it. Tenant form: {tenant}_issuer.",
        json_schema_extra={"allowed": "a URL, or nothing"},
    )
    on_behalf: Literal["owner", "client"] = Field(
        "owner",
        description="Whom tokens of oauth2 represent. owner: the actor's owner, by token exchange"
        " (RFC 8693) against a statement signed with the keys of own tokens; client: the client"
        " that is registered for the worker.",
    )
    scope: str = Field("", description="Scope that oauth2 asks for; nothing for the server's own.")
    registration_token_file: Path | None = Field(
        None,
        description="File with the initial access token that registering a client of oauth2"
        " needs, for its owner alone.",
    )
    server: str | None = Field(
        None,
        pattern=_URL,
        description="Base URL of the services clients/v2 and token of oauth_clients; nothing for"
        " the API server. Tenant form: {tenant}_server.",
        json_schema_extra={"allowed": "a URL, or nothing"},
    )
    accounts_file: Path | None = Field(
        None,
        description="File with the service accounts of oauth_clients, for its owner alone: a line"
        " for each tenant, its name, a colon, the user, a colon and the password.",
    )
    username: str | None = Field(
        None,
        min_length=1,
        description="User of the service account of tenants that have no line in accounts_file."
        " Tenant form, which wins over that line: {tenant}_username, also read from"
        " _abaco_<TENANT>_username in the environment.",
    )
    password: SecretStr | None = Field(
        None,
        description="Its password; accounts_file is better, since an environment can be seen."
        " Tenant form: {tenant}_password, also read from _abaco_<TENANT>_password.",
    )
    userstore: str = Field(
        "", description="What stands before an owner's name in requests of oauth_clients, with /."
    )
    timeout: float = Field(10.0, gt=0, description="Seconds the server has to answer a request.")

    def accounts(self) -> Mapping[str | None, tuple[str, str]]:
        """Return user and password that are given here, by tenant; None is everybody else's."""
        return {
            tenant: (user, password.get_secret_value())
            for tenant, user, password in self._pairs()
            if user is not None and password is not None
        }

    def halves(self) -> Iterator[str]:
        """Yield the keys without which others mean nothing."""
        for tenant, user, password in self._pairs():
            prefix = f"{tenant}_" if tenant else ""
            if user is None and password is not None:
                yield f"{prefix}username"
            if user is not None and password is None:
                yield f"{prefix}password"

    def _pairs(self) -> Iterator[tuple[str | None, str | None, SecretStr | None]]:
        yield None, self.username, self.password
        for tenant in self.named_tenants:
            yield tenant, self.own_of("username", tenant), self.own_of("password", tenant)
