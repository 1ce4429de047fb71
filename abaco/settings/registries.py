"""Accounts at registries of images: sections [registry:<host>], as many as there are registries."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pydantic import Field, SecretStr

from abaco.domain.image import fold_registry
from abaco.settings.section import Section

_PREFIX = "registry:"
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?")
_NUMBERED = re.compile(r"(username|password|password_file)_([0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class AccountSettings:
    """One account as written.

    Attributes:
        tenant: Whose it is, as ``fold_tenant`` spells it; None for everybody's.
        user_key: The key that names the user, to be told where something is wrong.
        password_key: The key of the password, or of its file.

    """

    tenant: str | None
    user_key: str
    password_key: str
    username: str | None
    password: SecretStr | None
    password_file: Path | None

    @property
    def fault(self) -> str | None:
        """What is wrong with it."""
        has_secret = self.password is not None or self.password_file is not None
        if has_secret and self.username is None:
            return "needed beside its password"
        if self.username is not None and not has_secret:
            return "needs a password or password_file beside it"
        return None


class RegistrySettings(Section):
    """An account at one registry, [registry:docker.io] being Docker Hub."""

    tenant_forms: ClassVar[Mapping[str, str]] = {
        name: name for name in ("username", "password", "password_file")
    }

    username: str | None = Field(
        None,
        description="Account for pulls of all tenants. Tenant form: {tenant}_username. More"
        " accounts, one of which is taken by chance for each pull, are username_1, username_2.",
    )
    password: SecretStr | None = Field(
        None, description="Its password or token; better in password_file."
    )
    password_file: Path | None = Field(
        None, description="File with nothing but the password, read at each pull; it wins."
    )

    @classmethod
    def split_tenant_key(cls, key: str) -> tuple[str, str] | None:
        """Take ``<tenant>_<key>`` or ``<key>_<number>`` apart.

        A number is kept like a tenant whose name none can have, because no key begins with #.
        """
        if match := _NUMBERED.fullmatch(key):
            return f"#{int(match[2])}", match[1]
        return super().split_tenant_key(key)

    def accounts(self) -> Iterator[AccountSettings]:
        """Yield all accounts: everybody's first."""
        yield AccountSettings(
            None,
            "username",
            "password_file" if self.password_file else "password",
            self.username,
            self.password,
            self.password_file,
        )
        for name in self.named_tenants:
            is_number = name.startswith("#")
            form = f"{{key}}_{name[1:]}" if is_number else f"{name}_{{key}}"
            username, password, file = (self.own_of(key, name) for key in self.tenant_forms)
            yield AccountSettings(
                None if is_number else name,
                form.format(key="username"),
                form.format(key="password_file" if file else "password"),
                username,
                password,
                file,
            )


def registry_section(name: str) -> str | None:
    """Return the canonical name of a section that is one of a registry; None of others."""
    if not name.lower().startswith(_PREFIX):
        return None
    host = fold_registry(name[len(_PREFIX) :])
    return f"{_PREFIX}{host}" if _HOST.fullmatch(host) else None


def registry_name(section: str) -> str:
    """Return the registry a section is about."""
    return section.removeprefix(_PREFIX)
