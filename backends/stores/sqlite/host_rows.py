"""What actors have of the host, to columns of their rows and back."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from abaco.domain.host_access import HostAccess
from abaco.domain.mount import Mount, MountMode
from backends.stores.rules import decode_json, encode_json

#: ``mounts`` is kept as it is shown, because it can be searched; the bases stand beside it
HOST_COLUMNS = ("uid", "gid", "tasdir", "mounts", "mount_bases")


def host_values(host: HostAccess) -> Mapping[str, Any]:
    """Return the columns."""
    return {
        "uid": host.uid,
        "gid": host.gid,
        "tasdir": host.tasdir,
        "mounts": encode_json([mount.shown() for mount in host.mounts]),
        "mount_bases": encode_json([mount.base for mount in host.mounts]),
    }


def to_host(row: sqlite3.Row) -> HostAccess:
    """Read the columns."""
    shown, bases = decode_json(row["mounts"]), decode_json(row["mount_bases"])
    return HostAccess(
        uid=row["uid"],
        gid=row["gid"],
        tasdir=row["tasdir"],
        mounts=tuple(
            Mount(**{**item, "mode": MountMode(item["mode"])}, base=base)
            for item, base in zip(shown, bases, strict=True)
        ),
    )
