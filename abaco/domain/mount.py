"""Mounts: parts of the host that containers are given, as configured and as resolved for an owner.

An item is written ``<host path>:<container path>:<ro|rw>``. Both paths may hold placeholders:
``{username}`` the actor's owner, ``{tenant_id}``, and ``{tasdir}`` the owner's home directory.
Nothing here looks at a file system.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

#: where containers that may drive the engine find its socket
ENGINE_SOCKET = "/var/run/docker.sock"

USERNAME = "username"
TENANT = "tenant_id"
HOME = "tasdir"

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_KNOWN = (USERNAME, TENANT, HOME)

#: container paths that belong to the kernel or to Abaco, with all below them
_RESERVED_TREES = ("/proc", "/sys", "/dev")
_RESERVED = ("/", ENGINE_SOCKET, "/run/docker.sock", "/var/run", "/run")
_RESERVED_PREFIX = "/_abaco_"


class MountMode(StrEnum):
    """What a container may do with a mount; the words of the configuration and the API."""

    RO = "ro"
    RW = "rw"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One mount of an actor, as stored.

    Attributes:
        base: The part of ``host_path`` that comes before any name or home directory. Who
            configured it answers for links in it; in the rest there must be none.

    """

    host_path: str
    container_path: str
    mode: MountMode
    base: str = "/"

    def shown(self) -> dict[str, str]:
        """Return what clients are shown."""
        return {
            "host_path": self.host_path,
            "container_path": self.container_path,
            "mode": str(self.mode),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class MountTemplate:
    """One item of the configuration, placeholders and all."""

    host_path: str
    container_path: str
    mode: MountMode

    @property
    def base(self) -> str:
        """The part of the host path that is the same for everybody."""
        literal, brace, _ = self.host_path.partition("{")
        return _tidy(literal.rpartition("/")[0] if brace else literal)

    @property
    def is_for_everybody(self) -> bool:
        """Whether the host path is the same for everybody."""
        return "{" not in self.host_path

    def resolve(self, names: Mapping[str, str]) -> Mount | None:
        """Fill the placeholders.

        Args:
            names: Value of each placeholder; one that is not there, or empty, is unknown.

        Returns:
            None when a placeholder has no value.

        Raises:
            ValueError: The paths that come out cannot be used; says why.

        """
        used = {*placeholders(self.host_path), *placeholders(self.container_path)}
        if any(not names.get(name) for name in used):
            return None
        for name in used:
            _check_value(name, names[name])
        host_path = _tidy(_fill(self.host_path, names))
        container_path = _tidy(_fill(self.container_path, names))
        if not host_path.startswith("/"):
            raise ValueError(f"{host_path!r} does not begin with /")
        _check_container_path(container_path)
        return Mount(
            host_path=host_path,
            container_path=container_path,
            mode=self.mode,
            base=self.base,
        )


def placeholders(path: str) -> list[str]:
    """Return the names in braces."""
    return _PLACEHOLDER.findall(path)


def parse_mounts(text: str) -> tuple[MountTemplate, ...]:
    """Read a list of items with commas between them; blank ones are passed over.

    Raises:
        ValueError: Names the item that cannot be used and says why.

    """
    templates = tuple(_parse_item(item) for part in text.split(",") if (item := part.strip()))
    paths = [template.container_path for template in templates]
    for path in paths:
        if paths.count(path) > 1:
            raise ValueError(f"two items are mounted at {path!r}")
    return templates


def resolve_mounts(
    templates: Iterable[MountTemplate], names: Mapping[str, str]
) -> tuple[Mount, ...]:
    """Fill the placeholders of all items; of two at one container path the later one counts.

    Raises:
        ValueError: A name cannot be part of a path, or what comes out cannot be used.

    """
    found = [mount for template in templates if (mount := template.resolve(names))]
    return tuple({mount.container_path: mount for mount in found}.values())


def _parse_item(item: str) -> MountTemplate:
    try:
        host_path, container_path, word = (part.strip() for part in item.split(":"))
        mode = MountMode(word.lower())
    except ValueError:
        raise ValueError(f"{item!r} is not <host path>:<container path>:<ro or rw>") from None
    try:
        _check_template_path(host_path)
        _check_template_path(container_path)
        if not placeholders(container_path):
            _check_container_path(_tidy(container_path))
    except ValueError as error:
        raise ValueError(f"{item!r}: {error}") from error
    return MountTemplate(
        host_path=_tidy(host_path), container_path=_tidy(container_path), mode=mode
    )


def _check_template_path(path: str) -> None:
    for name in placeholders(path):
        if name not in _KNOWN:
            raise ValueError(f"there is no {{{name}}}; there is {{{'}, {'.join(_KNOWN)}}}")
    rest = _PLACEHOLDER.sub("", path)
    if "{" in rest or "}" in rest:
        raise ValueError("braces are for placeholders")
    if not path.startswith(("/", f"{{{HOME}}}")):
        raise ValueError(f"{path!r} does not begin with /")
    _check_segments(path)


def _check_segments(path: str) -> None:
    if ".." in path.split("/"):
        raise ValueError(f"{path!r} has '..' in it")
    if not path.isprintable():
        raise ValueError(f"{path!r} has characters in it that cannot be shown")


def _check_value(name: str, value: str) -> None:
    """Refuse what would lead elsewhere than the configuration says."""
    _check_segments(value)
    if name != HOME and ("/" in value or value == "."):
        raise ValueError(f"{value!r} cannot be part of a path")


def _check_container_path(path: str) -> None:
    is_reserved = (
        path in _RESERVED
        or path.startswith(_RESERVED_PREFIX)
        or any(path == tree or path.startswith(f"{tree}/") for tree in _RESERVED_TREES)
    )
    if is_reserved:
        raise ValueError(f"nothing can be mounted at {path!r} of a container")
    if not path.startswith("/"):
        raise ValueError(f"{path!r} does not begin with /")


def _fill(path: str, names: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda found: names[found[1]], path)


def _tidy(path: str) -> str:
    """Leave out what means nothing: doubled and final slashes, and '.'."""
    if path.startswith("{"):
        return path
    # two slashes at the beginning are something of their own to normpath
    return posixpath.normpath(f"/{path.lstrip('/')}" if path.startswith("/") else path or "/")
