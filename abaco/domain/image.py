"""Container image references: what may be one, and its parts.

Source: the reference grammar of the OCI distribution specification (``[domain[:port]/]path
[:tag][@digest]``).
"""

from __future__ import annotations

import re

from abaco.errors import InvalidInputError

#: longest name without tag and digest (Source: OCI distribution specification)
MAX_NAME_LENGTH = 255

#: name, tag of 128, and the longest digest in use, with room to spare
MAX_REFERENCE_LENGTH = 1024

_DOMAIN_PART = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_PATH_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?P<name>(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*(?::[0-9]{{1,5}})?/)?"
    rf"{_PATH_PART}(?:/{_PATH_PART})*)"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
    r"(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,128})?"
)


def check_image(reference: str) -> str:
    """Return the reference if it could name an image.

    Raises:
        InvalidInputError: Names the field ``image``.

    """
    if not reference:
        raise InvalidInputError("an image is needed, for example busybox:latest", field="image")
    match = None
    if len(reference) <= MAX_REFERENCE_LENGTH:
        match = _REFERENCE.fullmatch(reference)
    if match is None or len(match["name"]) > MAX_NAME_LENGTH:
        shown = reference if len(reference) <= 80 else f"{reference[:80]}..."
        raise InvalidInputError(
            f"{shown!r} is no image reference; write [registry/]name[:tag][@digest], the name in"
            " lower case",
            field="image",
        )
    return reference


#: the registry of names that say none
DOCKER_HUB = "docker.io"
#: what else Docker Hub is called, by its web site and by files of credentials
_HUB_NAMES = frozenset({"index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"})
#: how engines write content ids; they find images by them, whoever the image is for
_CONTENT_ID = re.compile(r"(?:[a-z0-9]+:)?[0-9a-fA-F]{64}")


def registry_of(reference: str) -> str:
    """Return the registry, ``host`` or ``host:port``, that a reference names or means."""
    host, slash, _ = reference.partition("/")
    is_host = slash and ("." in host or ":" in host or host == "localhost")
    return fold_registry(host) if is_host else DOCKER_HUB


def fold_registry(text: str) -> str:
    """Spell a registry as ``registry_of`` does; URLs of one are understood."""
    host = text.strip().lower().removeprefix("https://").removeprefix("http://").partition("/")[0]
    return DOCKER_HUB if host in _HUB_NAMES else host


def repository_of(reference: str) -> str:
    """Return a reference without tag and digest."""
    name = reference.partition("@")[0]
    path, slash, last = name.rpartition("/")
    return f"{path}{slash}{last.partition(':')[0]}"


def is_content_id(reference: str) -> bool:
    """Tell whether engines would take a reference for an image's content id."""
    return _CONTENT_ID.fullmatch(reference) is not None
