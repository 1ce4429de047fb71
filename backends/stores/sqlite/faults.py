"""The one place where SQLite's errors become ours."""

from __future__ import annotations

import sqlite3

from abaco.errors import InvalidInputError, RequestError, StoreError, StoreUnavailableError

#: everything the sqlite3 module raises on its own; Warning is no Error there
SQLITE_FAULTS = (sqlite3.Error, sqlite3.Warning)

#: raised by the binding of a value that no column can hold
VALUE_FAULTS = (UnicodeEncodeError, OverflowError)

#: primary result codes that may go away by themselves or by a hand outside, with their cause
_PASSING = {
    sqlite3.SQLITE_BUSY: "another process holds the database",
    sqlite3.SQLITE_LOCKED: "the database is locked",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk does not read or write",
    sqlite3.SQLITE_CANTOPEN: "the database file cannot be opened",
    sqlite3.SQLITE_READONLY: "the database file cannot be written",
    sqlite3.SQLITE_NOMEM: "out of memory",
    sqlite3.SQLITE_INTERRUPT: "the call was interrupted",
    sqlite3.SQLITE_PROTOCOL: "the database's locks do not work",
}

#: primary result codes nobody recovers from without help
_BROKEN = {
    sqlite3.SQLITE_CORRUPT: "the database file is damaged",
    sqlite3.SQLITE_NOTADB: "the file is not a database",
}


def translate(error: Exception) -> StoreError:
    """Turn a fault of SQLite into the store error to raise, the fault as its cause.

    The text names the cause in plain words and no path; SQLite's own text is in ``detail``.
    """
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if isinstance(code, int) else None
    detail = f"{type(error).__name__}: {error} (SQLite code {code})"
    result: StoreError
    if primary in _PASSING:
        result = StoreUnavailableError(
            f"the store does not answer: {_PASSING[primary]}", detail=detail
        )
    else:
        cause = _BROKEN.get(primary, "an unexpected fault") if primary else "an unexpected fault"
        result = StoreError(f"the store failed: {cause}", detail=detail)
    result.__cause__ = error
    return result


def refuse_value(error: Exception) -> RequestError:
    """Turn a value that cannot be stored into the caller's error."""
    what = "text" if isinstance(error, UnicodeEncodeError) else "number"
    result = InvalidInputError(f"a {what} in the request cannot be stored", detail=str(error))
    result.__cause__ = error
    return result
