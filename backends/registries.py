"""Accounts at registries, as configured: sections [registry:<host>], and a file of docker login.

Files are read at each pull, so that a password can be replaced while the server runs. They are
read apart from the loop, and nothing of them finds its way into an error.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from abaco.config import Settings
from abaco.domain.ids import Tenant
from abaco.domain.image import fold_registry
from abaco.errors import ConfigError, DriverError
from abaco.ports.driver import Credentials
from abaco.ports.registries import Account, Registries
from abaco.settings.registries import AccountSettings
from abaco.settings.section import fold_tenant
from backends.apart import Apart

_log = logging.getLogger(__name__)

#: seconds a file may take to be read
READ_TIMEOUT_S = 10.0
#: files read at one time
READERS = 2
#: of ``docker login``: programs that know the passwords, which are not run here
_HELPERS = ("credHelpers", "credsStore")

T = TypeVar("T")


class ConfiguredRegistries(Registries):
    """The accounts in the settings.

    Args:
        settings: All settings.
        choose: Picks one of several accounts.

    """

    def __init__(
        self,
        settings: Settings,
        choose: Callable[[Sequence[AccountSettings]], AccountSettings] = secrets.choice,
    ) -> None:
        self._accounts = {
            host: [account for account in section.accounts() if account.username is not None]
            for host, section in settings.registries.items()
        }
        self._config_path = settings.engine.registry_config
        self._choose = choose
        self._apart = Apart("registry-accounts", count=READERS, timeout_s=READ_TIMEOUT_S)

    def is_guarded(self, registry: str) -> bool:
        """Tell whether a tenant has an account of its own there."""
        return any(account.tenant is not None for account in self._accounts.get(registry, ()))

    async def find_account(self, registry: str, tenant: Tenant) -> Account | None:
        """Return the tenant's account, or one for everybody."""
        accounts = self._accounts.get(registry, [])
        folded = fold_tenant(tenant)
        own = [account for account in accounts if account.tenant == folded]
        shared = [account for account in accounts if account.tenant is None]
        if chosen := own or shared:
            account = self._choose(chosen)
            credentials = await self._read(registry, _read_account, account)
            return Account(credentials=credentials, is_own=bool(own))
        if self._config_path is None:
            return None
        found = (await self._read(registry, read_login_file, self._config_path)).get(registry)
        return None if found is None else Account(credentials=found, is_own=False)

    async def _read(self, registry: str, read: Callable[[Any], T], what: object) -> T:
        try:
            result: T = await self._apart.call(read, what)
        except TimeoutError as error:
            raise DriverError(f"the account at {registry} is not read in time") from error
        except ConfigError as error:
            # where files lie is for the operator, what comes of it for the actor's owner too
            _log.warning("no account at %s: %s", registry, error.message)
            raise DriverError(f"the account at {registry} cannot be read") from error
        return result


def check_accounts(settings: Settings) -> None:
    """Read every file once, so that a wrong one stops the start.

    Raises:
        ConfigError: Names the key.

    """
    for host, section in settings.registries.items():
        for account in section.accounts():
            if account.username is not None:
                try:
                    _read_account(account)
                except ConfigError as error:
                    raise ConfigError(
                        f"[registry:{host}] {account.password_key}: {error.message}"
                    ) from error
    if settings.engine.registry_config is not None:
        try:
            read_login_file(settings.engine.registry_config)
        except ConfigError as error:
            raise ConfigError(f"[engine] registry_config: {error.message}") from error


def _read_account(account: AccountSettings) -> Credentials:
    assert account.username is not None  # noqa: S101 - the others were left out
    if account.password_file is not None:
        password = _read_text(account.password_file).strip()
        if not password:
            raise ConfigError(f"{account.password_file} is empty")
    else:
        password = account.password.get_secret_value() if account.password else ""
    return Credentials(username=account.username, password=password)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        # what the error tells is part of the file
        raise ConfigError(f"{path} is not UTF-8 text") from None


def read_login_file(path: Path) -> dict[str, Credentials]:
    """Read what ``docker login`` wrote: accounts by registry.

    Raises:
        ConfigError: The file cannot be read, or is none of these.

    """
    try:
        answer = json.loads(_read_text(path))
        found = {
            fold_registry(host): _login(entry)
            for host, entry in (answer.get("auths") or {}).items()
            # with a helper, the entry is there and empty
            if entry.get("auth") or entry.get("username")
        }
    except (ValueError, AttributeError, TypeError):
        raise ConfigError(f"{path} is no file of docker login") from None
    if helpers := [name for name in _HELPERS if answer.get(name)]:
        _log.warning("%s names helper programs (%s), which are not run", path, ", ".join(helpers))
    return found


def _login(entry: dict[str, str]) -> Credentials:
    if not entry.get("auth"):
        return Credentials(username=entry["username"], password=entry.get("password", ""))
    try:
        text = base64.b64decode(entry["auth"], validate=True).decode()
    except binascii.Error:
        raise ValueError("auth") from None
    username, colon, password = text.partition(":")
    if not colon:
        raise ValueError("auth")
    return Credentials(username=username, password=password.rstrip("\0"))
