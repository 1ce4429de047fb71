"""The HTTP API."""

from __future__ import annotations

import base64
import binascii
import functools
import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal, Self
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_core import PydanticCustomError

from abaco.domain.actor import DEFAULT_QUEUE
from abaco.domain.ids import DEFAULT_SALT
from abaco.settings.queues import NAMES, QueueNames
from abaco.settings.section import Section

#: a shorter key no longer proves anything. Source: NIST SP 800-131A, 2015
MIN_RSA_BITS = 2048


class WebSettings(Section):
    """The HTTP API."""

    tenant_forms: ClassVar[Mapping[str, str]] = {
        "log_ex": "log_ex",
        "log_ex_limit": "log_ex_limit",
        "default_token": "default_token",
        "api_server": "default_api_server",
        "tenant_message_rate": "tenant_message_rate",
        "tenant_message_burst": "tenant_message_burst",
        "actor_message_rate": "actor_message_rate",
        "actor_message_burst": "actor_message_burst",
    }

    address: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    tls_certificate: Path | None = Field(
        None,
        description="PEM file with the server's certificate and those that lead to its authority:"
        " the port speaks HTTPS then, TLS 1.2 or later. A renewed one is taken over within a"
        " minute.",
    )
    tls_key: Path | None = Field(
        None,
        description="PEM file with the certificate's private key, without a passphrase; not"
        " everybody may be able to read it.",
    )
    internal_address: str = Field(
        "127.0.0.1",
        description="Address internal_port is opened on. Nobody is asked who they are there.",
    )
    internal_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port for whoever watches the server: /metrics, and /health and /ready too."
        " Without it /metrics is on the main port, as long as only this machine reaches that, and"
        " else nowhere.",
        json_schema_extra={"allowed": "a port, 0 for a free one, or nothing"},
    )
    access_control: Literal["none", "jwt"] = Field(
        "none",
        description="none: everybody may do everything, only on loopback addresses. jwt: callers"
        " prove themselves with X-JWT-Assertion-<tenant> headers, or with bearer tokens if those"
        " are accepted.",
    )
    allow_insecure: bool = Field(
        False, description="Allow access_control none on an address other machines reach."
    )
    tenant_name: str = Field(
        "DEV",
        description="Tenant of requests in access mode none, and of bearer tokens that name none.",
    )
    apim_public_key: str | None = Field(
        None,
        description="RSA public key for jwt: base64 of its DER form, one line, no armour.",
        json_schema_extra={
            "allowed": "the base64 of an RSA public key in DER form, of 2048 bits or more"
        },
    )
    trusted_gateways: str | None = Field(
        None,
        description="Addresses X-JWT-Assertion-<tenant> headers are accepted from, with commas"
        " between; without it from everybody. The tenant in the header's name is not signed, so"
        " name the gateways wherever others can reach this server.",
        json_schema_extra={"allowed": "addresses and networks: 10.0.0.7, 10.1.0.0/16"},
    )
    jwt_tenant_claim: str | None = Field(
        None, description="Claim of such a JWT that must be the tenant of its header."
    )
    accept_bearer: bool = Field(
        False,
        description="Accept `Authorization: Bearer` with tokens of this server, made by `abaco"
        " token`. The keys are in token-keys.json in [general] data_dir.",
    )
    jwks_url: str | None = Field(
        None,
        description="Accept `Authorization: Bearer` with tokens of an issuer elsewhere, whose"
        " keys are published here as a JWK set.",
        json_schema_extra={"allowed": "an https URL; http only on loopback addresses"},
    )
    jwks_issuer: str | None = Field(None, description="What the claim iss of such tokens must be.")
    jwks_audience: str | None = Field(
        None, description="What the claim aud of such tokens must be or contain."
    )
    jwks_user_claim: str = Field("sub", description="Claim of such tokens that names the user.")
    jwks_roles_claim: str = Field("roles", description="Claim of such tokens that lists roles.")
    jwks_tenant_claim: str | None = Field(
        None,
        description="Claim of such tokens that names the tenant; without it tenant_name.",
    )
    jwks_ttl: int = Field(
        3600, ge=1, description="Seconds after which the issuer's keys are fetched again."
    )
    user_role: str = Field(
        "Internal/abaco-user", description="Role that allows base use in mode jwt."
    )
    accept_nonce: bool = Field(
        False,
        description="Let x-nonce=<nonce> in the query stand in for a JWT. Whoever sees such a URL"
        " can use it.",
    )
    case: Literal["snake", "camel"] = Field(
        "snake", description="Spelling of keys in responses; requests may use either."
    )
    default_api_server: str = Field(
        "http://127.0.0.1:8000",
        description="Base URL shown in links and given to containers; by default with [web]"
        " port, and https with tls_certificate. Programs that use the SDK agavepy need https, a"
        " name in small letters, no port and no path. Tenant form: {tenant}_api_server.",
    )
    encryption_key_file: Path | None = Field(
        None,
        description="File with the keys that secrets are encrypted with, one per line, the first"
        " encrypts; only the server's user may read it. Without this key"
        " <data_dir>/encryption.keys, which is made at the first start.",
    )
    encryption_key: SecretStr | None = Field(
        None,
        description="One key instead of, or besides, a file; it encrypts while the file is not"
        " there. A file is better: this one may be seen in the environment.",
        json_schema_extra={"allowed": "a Fernet key, 32 bytes in urlsafe base64, or nothing"},
    )
    strict_config_actors: bool = Field(
        False,
        description="Refuse a config that lists an actor its owner may not update. When off it is"
        " accepted, and kept from that actor's executions.",
    )
    id_salt: str = Field(
        DEFAULT_SALT, description="Salt of identifiers; never change it on a live instance."
    )
    default_token: str = Field(
        "false",
        description="What an actor's token attribute is when not sent. Tenant form:"
        " {tenant}_default_token.",
    )
    show_traceback: bool = Field(
        False, description="Put tracebacks into 500 responses (development only)."
    )
    modern_status: bool = Field(
        False, description="Answer 401 and 403 where the older Abaco answers 400."
    )
    all_queues: QueueNames = Field(
        (DEFAULT_QUEUE,),
        description="Names an actor's queue attribute may have, whichever host serves them.",
        json_schema_extra={"allowed": NAMES},
    )
    max_content_length: int = Field(
        500_000_000,
        ge=1,
        description="Bytes of the largest binary message, which is kept on disk; above it 413.",
    )
    max_body_length: int = Field(
        1_000_000,
        ge=1,
        description="Bytes of the largest other request body, which is held in memory; above it"
        " 413.",
    )
    sync_timeout: int = Field(
        600, ge=1, description="Seconds a synchronous message waits before it answers 504."
    )
    max_wait: int = Field(
        60, ge=0, description="Most seconds that a request for an execution with wait is held."
    )
    max_followers: int = Field(
        256, ge=0, description="Logs that may be followed at the same time; above it 429."
    )
    max_batch: int = Field(1000, ge=1, description="Messages one batch may hold.")
    tenant_message_rate: float | None = Field(
        None,
        gt=0,
        description="Messages a second a tenant may post, above it 429; without it no limit."
        " Tenant form: {tenant}_tenant_message_rate.",
    )
    tenant_message_burst: int = Field(
        1000,
        ge=1,
        description="Messages a tenant may post at once before that rate counts. Tenant form:"
        " {tenant}_tenant_message_burst.",
    )
    actor_message_rate: float | None = Field(
        None,
        gt=0,
        description="Messages a second that may be posted to one actor, above it 429; without it"
        " no limit. Tenant form: {tenant}_actor_message_rate.",
    )
    actor_message_burst: int = Field(
        1000,
        ge=1,
        description="Messages that may be posted to one actor at once before that rate counts."
        " Tenant form: {tenant}_actor_message_burst.",
    )
    log_ex: int = Field(
        43_200,
        ge=-1,
        description="Seconds an execution's log is kept when the actor says nothing; -1 for ever."
        " Tenant form: {tenant}_log_ex.",
    )
    log_ex_limit: int = Field(
        86_400,
        ge=-1,
        description="Most seconds an actor may ask its logs to be kept; -1 for no cap. Tenant"
        " form: {tenant}_log_ex_limit.",
    )
    max_log_length: int = Field(
        1_000_000, ge=1, description="Bytes of output stored per execution; the rest is counted."
    )

    @field_validator("encryption_key")
    @classmethod
    def _check_encryption_key(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None:
            Fernet(key.get_secret_value())
        return key

    @field_validator("apim_public_key")
    @classmethod
    def _check_public_key(cls, text: str | None) -> str | None:
        if text is None:
            return None
        try:
            key = load_der_public_key(base64.b64decode(text, validate=True))
        except (binascii.Error, UnsupportedAlgorithm) as error:
            raise ValueError(str(error)) from error
        if not isinstance(key, RSAPublicKey):
            raise ValueError(f"not RSA but {type(key).__name__}")
        if key.key_size < MIN_RSA_BITS:
            raise ValueError(f"{key.key_size} bits, which can be broken")
        return text

    @model_validator(mode="after")
    def _check_access(self) -> Self:
        is_proven = self.apim_public_key or self.accept_bearer or self.jwks_url
        if self.access_control == "jwt" and not is_proven:
            raise PydanticCustomError(
                "incomplete",
                "access_control jwt needs apim_public_key, the key that tokens are checked with,"
                " or accept_bearer or jwks_url",
                {"key": "apim_public_key", "because": "access_control"},
            )
        for key in ("jwks_issuer", "jwks_audience"):
            if self.jwks_url and not getattr(self, key):
                raise PydanticCustomError(
                    "incomplete",
                    "jwks_url needs jwks_issuer and jwks_audience: without them a token meant for"
                    " another service would do",
                    {"key": key, "because": "jwks_url"},
                )
        if self.access_control == "none" and not (self.allow_insecure or self.is_loopback):
            raise PydanticCustomError(
                "insecure",
                "with access_control none everybody who reaches this address may run"
                " containers here; use 127.0.0.1, or access_control jwt, or allow_insecure: true",
                {"key": "address", "because": "access_control"},
            )
        return self

    @property
    def gateways(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        """The networks of ``trusted_gateways``."""
        return _networks(self.trusted_gateways or "")

    @field_validator("trusted_gateways")
    @classmethod
    def _check_gateways(cls, text: str | None) -> str | None:
        _networks(text or "")
        return text

    @field_validator("jwks_url")
    @classmethod
    def _check_jwks_url(cls, text: str | None) -> str | None:
        if text is None:
            return None
        parts = urlsplit(text)
        is_near = parts.scheme == "http" and _is_loopback(parts.hostname or "")
        if not parts.hostname or not (parts.scheme == "https" or is_near):
            raise ValueError("no https URL")
        return text

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        keys = ("tls_certificate", "tls_key")
        for key, other in (keys, keys[::-1]):
            if getattr(self, key) is None and getattr(self, other) is not None:
                raise PydanticCustomError(
                    "incomplete",
                    f"{other} needs it, and the other way round",
                    {"key": key, "because": other},
                )
        return self

    @model_validator(mode="after")
    def _check_ports(self) -> Self:
        listening, internal = (
            (self.address, self.port),
            (self.internal_address, self.internal_port),
        )
        if listening == internal and self.port:
            raise PydanticCustomError(
                "taken",
                "must not be the port of everything else, which is for others",
                {"key": "internal_port", "because": "port"},
            )
        return self

    @property
    def shows_metrics(self) -> bool:
        """Whether the main port has ``/metrics`` as well."""
        return self.internal_port is None and self.is_loopback

    @property
    def api_servers(self) -> list[str]:
        """The base URLs that containers of the tenants are told, each once."""
        return list(dict.fromkeys(self.every_value("api_server")))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the address."""
        return _is_loopback(self.address)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@functools.cache
def _networks(text: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    parts = (part.strip() for part in text.split(","))
    return tuple(ipaddress.ip_network(part) for part in parts if part)
