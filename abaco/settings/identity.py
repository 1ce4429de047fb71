"""The accounting system that knows the owners of actors."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr

from abaco.settings.hosts import HostId
from abaco.settings.section import Section


class IdentitySettings(Section):
    """How owners are looked up; which of them are is said by [workers] identity_provider."""

    url: str | None = Field(
        None,
        pattern=r"^https?://[^/?#\s]+[^?#\s]*$",
        description="Base URL of the accounting service; a user is looked up at"
        " <url>/users/username/<user>. Also read from TAS_URL_BASE.",
        json_schema_extra={"allowed": "an http or https URL, or nothing"},
    )
    username: str = Field(
        "", description="Account for the accounting service. Also read from TAS_ROLE_ACCT."
    )
    password: SecretStr | None = Field(
        None, description="Its password. Also read from TAS_ROLE_PASS; better in password_file."
    )
    password_file: Path | None = Field(
        None, description="File with nothing but the password; wins over password."
    )
    gid: HostId | None = Field(
        None,
        description="Group of users whose profile names none; without it the group has the number"
        " of the user. Also read from TAS_GID.",
    )
    profile_url: str | None = Field(
        None,
        pattern=r"^https?://[^/?#\s]+\S*$",
        description="URL of a user's profile, with {tenant} and {username} in it; posix_gid of its"
        " value is the user's group.",
        json_schema_extra={"allowed": "an http or https URL, or nothing"},
    )
    profile_token_file: Path | None = Field(
        None, description="File with a token that is sent to profile_url as a bearer token."
    )
    timeout: float = Field(5.0, gt=0, description="Seconds a lookup may take.")
    ttl: float = Field(300.0, ge=0, description="Seconds for which what was found is used again.")
