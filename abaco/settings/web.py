"""The HTTP API."""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal, Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_core import PydanticCustomError

from abaco.domain.ids import DEFAULT_SALT
from abaco.settings.section import Section


class WebSettings(Section):
    """The HTTP API."""

    tenant_forms: ClassVar[Mapping[str, str]] = {
        "log_ex": "log_ex",
        "log_ex_limit": "log_ex_limit",
        "default_token": "default_token",
        "api_server": "default_api_server",
    }

    address: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    access_control: Literal["none", "jwt"] = Field(
        "none",
        description="none: everybody may do everything, only on loopback addresses. jwt: callers"
        " prove themselves with X-JWT-Assertion-<tenant> headers.",
    )
    allow_insecure: bool = Field(
        False, description="Allow access_control none on an address other machines reach."
    )
    tenant_name: str = Field("DEV", description="Tenant of requests in access mode none.")
    apim_public_key: str | None = Field(
        None,
        description="RSA public key for jwt: base64 of its DER form, one line, no armour.",
        json_schema_extra={"allowed": "the base64 of an RSA public key in DER form"},
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
        " port. Tenant form: {tenant}_api_server.",
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
    max_content_length: int = Field(
        1_000_000, ge=1, description="Bytes of the largest request body; above it 413."
    )
    sync_timeout: int = Field(
        600, ge=1, description="Seconds a synchronous message waits before it answers 504."
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
        return text

    @model_validator(mode="after")
    def _check_access(self) -> Self:
        if self.access_control == "jwt" and self.apim_public_key is None:
            raise PydanticCustomError(
                "incomplete",
                "access_control jwt needs apim_public_key, the key that tokens are checked with",
                {"key": "apim_public_key", "because": "access_control"},
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
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the address."""
        try:
            return ipaddress.ip_address(self.address).is_loopback
        except ValueError:
            return self.address == "localhost"
