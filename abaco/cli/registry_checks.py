"""What ``abaco doctor`` says of accounts at registries."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from abaco.cli.findings import Finding, Level, failed
from abaco.config import Settings
from abaco.errors import ConfigError
from backends.registries import check_accounts


def check_registries(settings: Settings) -> Iterator[Finding]:
    """Check that accounts can be read, and by nobody they are not for."""
    files = list(_files(settings))
    if not settings.registries and not files:
        return
    try:
        check_accounts(settings)
    except ConfigError as error:
        yield failed("registries", error, "docs/images.rst shows how accounts are written")
        return
    yield Finding(
        check="registries",
        level=Level.OK,
        what=f"accounts at {', '.join(sorted(settings.registries)) or 'registries'} can be read",
    )
    for path in files:
        if stat.S_IMODE(path.stat().st_mode) & (stat.S_IRGRP | stat.S_IROTH):
            yield Finding(
                check="registries",
                level=Level.WARNING,
                what=f"{path} has a password in it and can be read by others",
                remedy=f"chmod 600 {path}",
            )


def _files(settings: Settings) -> Iterator[Path]:
    for section in settings.registries.values():
        for account in section.accounts():
            if account.password_file is not None:
                yield account.password_file
    if settings.engine.registry_config is not None:
        yield settings.engine.registry_config
