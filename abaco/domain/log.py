"""What people are shown of a log."""

from __future__ import annotations

import codecs

#: ends a log whose rest was left out; clients look for these very words
TRUNCATED = " LOG LIMIT EXCEEDED; this execution log was TRUNCATED!"


def shown_log(data: bytes, *, is_final: bool, is_truncated: bool) -> str:
    """Read stored output as text; says so when output was left out at its end.

    Args:
        data: The output that is stored.
        is_final: Whether the execution has ended.
        is_truncated: Whether output was left out.

    """
    # A character may be cut in two by the limit, or by a write that is still under way.
    is_whole = is_final and not is_truncated
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(data, final=is_whole)
    return text + TRUNCATED if is_truncated else text
