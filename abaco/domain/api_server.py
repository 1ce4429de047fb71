"""What the published SDK of the older Abaco needs of the base URL that containers are told."""

from __future__ import annotations

import re
from urllib.parse import urlsplit


def sdk_faults(url: str) -> list[str]:
    """Say why programs that use the SDK ``agavepy`` could not call this base URL.

    It always speaks TLS to the host that is named, leaves the path out, and sends no credentials
    when a port is written or the host has capital letters. Source: agavepy 0.9.5, by the requests
    it makes.
    """
    parts = urlsplit(url)
    found = {
        "it is not https": parts.scheme != "https",
        "it names a port": re.search(r":\d*$", parts.netloc) is not None,
        "its host has capital letters": parts.netloc != parts.netloc.lower(),
        "it has a path": parts.path not in ("", "/"),
    }
    return [fault for fault, is_so in found.items() if is_so]
