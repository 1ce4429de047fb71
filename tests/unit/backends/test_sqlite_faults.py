from __future__ import annotations

import inspect
import sqlite3

import pytest

from abaco.errors import InvalidInputError, StoreError, StoreUnavailableError
from backends.stores.sqlite.faults import SQLITE_FAULTS, VALUE_FAULTS, refuse_value, translate

CLASSES = [
    each for _, each in inspect.getmembers(sqlite3, inspect.isclass) if issubclass(each, Exception)
]

RESULT_CODES = {
    name: value
    for name, value in vars(sqlite3).items()
    if name.startswith("SQLITE_") and isinstance(value, int)
}

PASSING = (
    "SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL", "SQLITE_IOERR", "SQLITE_CANTOPEN",
    "SQLITE_READONLY", "SQLITE_NOMEM", "SQLITE_INTERRUPT", "SQLITE_PROTOCOL",
    "SQLITE_BUSY_SNAPSHOT", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_FSYNC",
    "SQLITE_READONLY_DBMOVED", "SQLITE_CANTOPEN_ISDIR",
)  # fmt: skip
BROKEN = (
    "SQLITE_ERROR", "SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_CONSTRAINT", "SQLITE_MISUSE",
    "SQLITE_SCHEMA", "SQLITE_TOOBIG", "SQLITE_CORRUPT_INDEX",
)  # fmt: skip


def fault(code: int | None, kind: type[Exception] = sqlite3.OperationalError) -> Exception:
    error = kind("table /secret/path.db is upset")
    if code is not None:
        error.sqlite_errorcode = code  # type: ignore[attr-defined]
    return error


def test_the_module_has_the_classes_the_map_is_made_for() -> None:
    assert sqlite3.OperationalError in CLASSES
    assert len(CLASSES) >= 10


@pytest.mark.parametrize("kind", CLASSES)
def test_the_map_is_total_over_the_classes(kind: type[Exception]) -> None:
    assert issubclass(kind, SQLITE_FAULTS)
    for code in (None, *RESULT_CODES.values()):
        error = fault(code, kind)
        translated = translate(error)
        assert isinstance(translated, StoreError)
        assert translated.__cause__ is error
        assert "/secret" not in translated.message
        assert kind.__name__ in translated.detail


@pytest.mark.parametrize("name", PASSING)
def test_what_may_pass_is_unavailable(name: str) -> None:
    translated = translate(fault(RESULT_CODES[name]))
    assert isinstance(translated, StoreUnavailableError)
    assert translated.retryable


@pytest.mark.parametrize("name", BROKEN)
def test_what_needs_help_is_an_error(name: str) -> None:
    translated = translate(fault(RESULT_CODES[name]))
    assert type(translated) is StoreError
    assert not translated.retryable


def test_the_text_says_what_is_the_matter() -> None:
    assert "disk is full" in translate(fault(sqlite3.SQLITE_FULL)).message
    assert "damaged" in translate(fault(sqlite3.SQLITE_CORRUPT)).message


def test_real_faults_carry_the_codes_the_map_reads() -> None:
    connection = sqlite3.connect(":memory:")
    with pytest.raises(sqlite3.Error) as caught:
        connection.execute("SELECT * FROM nowhere")
    assert type(translate(caught.value)) is StoreError
    connection.close()
    with pytest.raises(sqlite3.Error) as caught:
        connection.execute("SELECT 1")
    assert type(translate(caught.value)) is StoreError
    with pytest.raises(sqlite3.Error) as caught:
        sqlite3.connect("/nonexistent/directory/x.db")
    assert type(translate(caught.value)) is StoreUnavailableError


def test_values_that_cannot_be_stored_are_told_apart() -> None:
    connection = sqlite3.connect(":memory:")
    for value, word in (("\udc80", "text"), (10**30, "number")):
        with pytest.raises(VALUE_FAULTS) as caught:
            connection.execute("SELECT ?", (value,))
        refused = refuse_value(caught.value)
        assert isinstance(refused, InvalidInputError)
        assert word in refused.message
        assert refused.__cause__ is caught.value
    connection.close()
