"""What is told of every request when it is over: a line in the log, and its time."""

from __future__ import annotations

import logging

from tornado.web import RequestHandler

from abaco.logs import redact
from abaco.metrics import observe_request

logger = logging.getLogger(__name__)


def log_request(handler: RequestHandler) -> None:
    """Write one line, and measure the request.

    Without the query string and headers: both may carry tokens, and query parameters are the
    environment of containers. A nonce is named in paths too.
    """
    request, status = handler.request, handler.get_status()
    method = request.method or ""
    took_s = request.request_time()
    entry = getattr(handler, "entry", None)
    observe_request("none" if entry is None else entry.label, method, status, took_s)
    is_routine = status < 400 and method in ("GET", "HEAD", "OPTIONS")
    logger.log(
        logging.DEBUG if is_routine else logging.INFO,
        "%s %s %d %.1f ms %s %s",
        method,
        redact(request.path),
        status,
        took_s * 1000,
        request.remote_ip,
        getattr(handler, "request_id", "-"),
    )
