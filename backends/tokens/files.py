"""Small files of secrets, for their owner alone."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path

from abaco.errors import ConfigError
from abaco.settings import fold_tenant


def read_secret(key: str, path: Path) -> str:
    """Read a file, after checking its mode.

    Args:
        key: Of the configuration, for the error.
        path: The file.

    Raises:
        ConfigError: It cannot be used; no part of its content is repeated.

    """
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise ConfigError(f"{key}: others may read it; chmod 600 {path}")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{key}: {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{key}: {path} is no text") from error


def read_by_tenant(key: str, path: Path | None) -> Mapping[str, str]:
    """Read lines of ``tenant: value``; tenants are spelled as ``fold_tenant`` does.

    Raises:
        ConfigError: The file cannot be used, or none is named.

    """
    if path is None:
        raise ConfigError(f"{key}: runtime.token_provider needs a file")
    found: dict[str, str] = {}
    for number, line in enumerate(read_secret(key, path).splitlines(), 1):
        tenant, colon, value = (part.strip() for part in line.partition(":"))
        if not line.strip() or tenant.startswith("#"):
            continue
        if not (tenant and colon and value) or fold_tenant(tenant) in found:
            raise ConfigError(
                f"{key}: line {number} of {path} is no 'tenant: value', or the tenant has one"
            )
        found[fold_tenant(tenant)] = value
    return found
