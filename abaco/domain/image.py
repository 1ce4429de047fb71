"""Container image references: what may be one.

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
