"""What the first bytes of a database file tell, without opening it as one.

Opening leaves files beside it, and would have to write the log of a process that was killed.
"""

from __future__ import annotations

from pathlib import Path

#: Source: https://www.sqlite.org/fileformat.html, 1.3: the magic text, and user_version at 60
_MAGIC = b"SQLite format 3\x00"
_VERSION = slice(60, 64)


def read_version(path: Path) -> int | None:
    """Return the schema version in a database file; None when it is empty or not there.

    A version that a killed process left in the log beside the file is not seen.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no SQLite database.

    """
    try:
        with path.open("rb") as file:
            head = file.read(100)
    except FileNotFoundError:
        return None
    if not head:
        return None
    if not head.startswith(_MAGIC) or len(head) < _VERSION.stop:
        raise ValueError("it is no SQLite database")
    return int.from_bytes(head[_VERSION], "big")
