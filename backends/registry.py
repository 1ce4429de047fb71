"""The backends there are, by name; a module is imported when its name is chosen.

A further store or driver is one file and one line here.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, cast

from abaco.config import Settings
from abaco.errors import ConfigError
from abaco.ports.clock import Clock
from abaco.ports.store import Stores
from abaco.ports.token_provider import TokenProvider
from abaco.ports.vault import Vault
from backends.drivers.opened import DriverFactory

STORES: Mapping[str, str] = {
    "memory": "backends.stores.memory:open_stores",
    "sqlite": "backends.stores.sqlite:open_stores",
}

DRIVERS: Mapping[str, str] = {
    "auto": "backends.drivers.auto:open_driver",
    "docker": "backends.drivers.docker:open_driver",
    "podman": "backends.drivers.podman:open_driver",
    "scripted": "backends.drivers.scripted:open_driver",
}

TOKEN_PROVIDERS: Mapping[str, str] = {
    "local_jwt": "backends.tokens.local_jwt:open_tokens",
    "none": "backends.tokens.fixed:open_no_tokens",
    "oauth2": "backends.tokens.oauth2:open_tokens",
    "oauth_clients": "backends.tokens.oauth_clients:open_tokens",
    "static": "backends.tokens.fixed:open_static_tokens",
}


class StoresFactory(Protocol):
    """How every store module is opened."""

    def __call__(self, settings: Settings, clock: Clock) -> AbstractAsyncContextManager[Stores]:
        """Open all stores of one backend."""
        ...


def find_stores(name: str) -> StoresFactory:
    """Import the store backend of this name.

    Raises:
        ConfigError: No such backend, or a library it needs is not installed.

    """
    return cast(StoresFactory, load("store.backend", STORES, name))


class TokensFactory(Protocol):
    """How every provider of access tokens is opened."""

    def __call__(
        self, settings: Settings, clock: Clock, stores: Stores, vault: Vault
    ) -> AbstractAsyncContextManager[TokenProvider]:
        """Open the provider."""
        ...


def find_token_provider(name: str) -> TokensFactory:
    """Import the provider of access tokens of this name.

    Raises:
        ConfigError: No such provider, or a library it needs is not installed.

    """
    return cast(TokensFactory, load("runtime.token_provider", TOKEN_PROVIDERS, name))


def find_driver(name: str) -> DriverFactory:
    """Import the driver of this name.

    Raises:
        ConfigError: No such driver, or a library it needs is not installed.

    """
    return cast(DriverFactory, load("engine.driver", DRIVERS, name))


def load(key: str, table: Mapping[str, str], name: str) -> Any:
    """Import what a table names ``module:attribute``.

    Args:
        key: Configuration key the name comes from, for the error.
        table: Known names.
        name: The chosen one.

    Raises:
        ConfigError: The name is unknown (the text lists the known ones), or the module needs a
            library that is not installed.

    """
    target = table.get(name)
    if target is None:
        raise ConfigError(f"{key}: unknown name {name!r}; known are {', '.join(sorted(table))}")
    module_name, _, attribute = target.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{key}: {name!r} needs the Python package {error.name!r}, which is not installed"
        ) from error
    return getattr(module, attribute)
