"""The server's own log: set-up, and redaction of secrets at the root."""

from __future__ import annotations

import logging
import re
import sys

from abaco.domain.nonce import NONCE_BYTES
from abaco.settings import LogsSettings

FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"

#: what must never reach a log, whatever text carries it
_SECRETS = re.compile(
    r"(?i)(x-nonce=|/nonces/|bearer\s+|x-jwt-assertion-[\w-]+[\"':=\s]+|_abaco_access_token[\"':=\s]+)"
    r"[^\s&\"',;]+"
)

#: a nonce without anything before it that says so, in a path that is none of ours
_NONCE = re.compile(rf"(?<=_)[0-9a-f]{{{2 * NONCE_BYTES}}}")

#: a signed token, wherever it stands: the beginnings of two JSON objects in base64
_JWT = re.compile(r"\beyJ[\w-]+\.eyJ[\w-]+\.[\w-]*")


def redact(text: str) -> str:
    """Blank out nonces and tokens."""
    return _NONCE.sub("***", _JWT.sub("***", _SECRETS.sub(r"\1***", text)))


class RedactingFormatter(logging.Formatter):
    """Formats a record, exception and all, and blanks out secrets in the result."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line to write."""
        return redact(super().format(record))


def set_up_logs(settings: LogsSettings) -> None:
    """Send the root logger to standard error or a file, replacing earlier handlers."""
    handler: logging.Handler
    if settings.file is None:
        handler = logging.StreamHandler(sys.stderr)
    else:
        handler = logging.FileHandler(settings.file)
    handler.setFormatter(RedactingFormatter(FORMAT))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level)
