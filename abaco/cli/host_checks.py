"""What ``abaco doctor`` says of mounts, and of the users that containers run as."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from abaco.cli.findings import Finding, Level, failed
from abaco.config import Settings
from abaco.domain.mount import Mount, MountMode, MountTemplate, parse_mounts
from abaco.errors import ConfigError, IdentityUnavailableError
from backends.host_files import Guard, MountMissingError, MountRefusedError, look
from backends.users.select import make_lookup


def check_mounts(settings: Settings) -> Iterator[Finding]:
    """Check that the host has what is configured, as far as it is the same for everybody."""
    workers, guard = settings.workers, Guard.of(settings)
    for text in dict.fromkeys(workers.every_value("global_mounts")):
        for template in parse_mounts(text):
            yield _look(template, guard)
    for template in parse_mounts(workers.privileged_mounts):
        yield _look(template, None)


def _look(template: MountTemplate, guard: Guard | None) -> Finding:
    base = Mount(
        host_path=template.base,
        container_path=template.container_path,
        mode=template.mode,
        base=template.base,
    )
    try:
        path = look(base)
        if guard and template.is_for_everybody:
            guard.check(path)
    except MountMissingError:
        return Finding(
            check="mounts",
            level=Level.ERROR,
            what=f"{template.base} is not there; {template.container_path} of containers needs it",
            remedy="make it, or change [workers] global_mounts or privileged_mounts",
        )
    except MountRefusedError as error:
        return Finding(
            check="mounts",
            level=Level.ERROR,
            what=f"{template.host_path} is mounted nowhere: {error}",
            remedy="change [workers] global_mounts, or let this user look there",
        )
    return Finding(
        check="mounts",
        level=Level.OK,
        what=f"{template.host_path} at {template.container_path} ({template.mode})",
    )


def check_users(settings: Settings) -> Iterator[Finding]:
    """Check that whoever knows the owners answers, and warn of mounts that root may write."""
    try:
        yield from asyncio.run(_ask(settings))
    except ConfigError as error:
        yield failed("users", error, "name a file this user can read")
    except IdentityUnavailableError as error:
        yield Finding(
            check="users",
            level=Level.ERROR,
            what=f"{error.message}{f' ({error.detail})' if error.detail else ''}",
            remedy="see to the keys under [identity]; until then no actor can be registered",
        )
    if _may_write_as_root(settings):
        yield Finding(
            check="users",
            level=Level.WARNING,
            what="containers that run as their image's user, root included, may write to mounts",
            remedy="[workers] identity_provider, or actor_uid and actor_gid (docs/mounts.rst)",
        )


async def _ask(settings: Settings) -> list[Finding]:
    lookup = make_lookup(settings)
    if lookup is None:
        return []
    try:
        what = await lookup.check()
    finally:
        lookup.close()
    return [Finding(check="users", level=Level.OK, what=f"{what} answers")]


def _may_write_as_root(settings: Settings) -> bool:
    """Tell whether some tenant has mounts to write and nobody to run as."""
    workers = settings.workers
    for tenant in ("", *workers.named_tenants):
        mounts = parse_mounts(workers.for_tenant("global_mounts", tenant))
        is_open = any(mount.mode is MountMode.RW for mount in mounts)
        if is_open and not workers.is_looked_up(tenant) and workers.fixed_user(tenant) is None:
            return True
    return False
