"""Secrets never reach the log, whatever text carries them."""

import logging

import pytest

from abaco.config import Settings
from abaco.logs import RedactingFormatter, redact, set_up_logs
from abaco.settings import LogsSettings

NONCE = "DEV_STAGING_" + "0f" * 24


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"GET /actors/a?x-nonce={NONCE}&b=1", NONCE[-48:]),
        (f"DELETE /actors/a/nonces/{NONCE} 200", NONCE[-48:]),
        (f"DELETE /actors/aliases/b/nonces/{NONCE}", NONCE[-48:]),
        (f"GET /actors/a/state/{NONCE}", NONCE[-48:]),
        (f"somebody wrote {NONCE}, sadly", NONCE[-48:]),
        ("x-nonce=short", "short"),
        ("Authorization: Bearer abc.def", "abc.def"),
        ("{'X-Jwt-Assertion-DEV': 'abc.def'}", "abc.def"),
        ("_abaco_access_token=abc", "abc"),
        ("a program wrote eyJhbGci.eyJpc3Mi.c2lnbmF0dXJl here", "c2lnbmF0dXJl"),
    ],
)
def test_secrets_are_blanked_out(text, secret):
    assert secret not in redact(text)
    assert "***" in redact(text)


@pytest.mark.parametrize(
    "text", ["GET /actors/a/nonces 200", "GET /actors/yP0PDpZWG38Bg 200", "0f" * 24, "a_b_c"]
)
def test_the_rest_stays(text):
    assert redact(text) == text


def test_exceptions_too():
    try:
        raise ValueError(f"bad {NONCE}")
    except ValueError as error:
        info = (type(error), error, error.__traceback__)
    record = logging.LogRecord("n", logging.ERROR, "f", 1, "failed %s", (NONCE,), info)
    line = RedactingFormatter("%(message)s").format(record)
    assert "ValueError" in line
    assert NONCE[-48:] not in line


@pytest.fixture
def root():
    logger = logging.getLogger()
    before = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:], level = before
    logger.setLevel(level)


def test_the_log_as_it_is_set_up(root, tmp_path):
    path = tmp_path / "abaco.log"
    set_up_logs(LogsSettings(file=path, level="INFO"))
    logging.getLogger("handlers.access").info("GET /actors?x-nonce=%s", NONCE)
    logging.getLogger("handlers.access").debug("not written")
    for handler in root.handlers:
        handler.close()
    text = path.read_text()
    assert "GET /actors?x-nonce=***" in text
    assert "not written" not in text
    assert Settings().logs.file is None
