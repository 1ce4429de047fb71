"""Measures calls to a container engine, under names that hold no id."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from abaco.errors import EngineTimeoutError, EngineUnavailableError
from abaco.metrics import ENGINE_ERRORS, ENGINE_SECONDS
from backends.drivers.engine_wire import EngineReplyError

#: from here on a status is the engine's own fault
FAULT_STATUS = 500

_NOUNS = frozenset({"containers", "events", "exec", "images", "info", "networks", "version"})
_VERBS = frozenset(
    {
        "attach", "create", "init", "json", "kill", "logs", "pause", "pull", "resize", "start",
        "stats", "stop", "unpause", "wait",
    }
)  # fmt: skip


def call_name(method: str, path: str) -> str:
    """Return the name of a call: noun and verb of its path, the method in place of a verb."""
    parts = path.strip("/").split("/")
    noun = next((part for part in parts if part in _NOUNS), "other")
    verb = parts[-1] if parts[-1] in _VERBS and len(parts) > 1 else method.lower()
    return f"{noun} {verb}"


@contextmanager
def engine_call(method: str, path: str) -> Iterator[None]:
    """Measure a call until its answer, or for a stream until it begins; count what went wrong."""
    name, began_s = call_name(method, path), perf_counter()
    try:
        yield
    except (EngineUnavailableError, EngineTimeoutError, TimeoutError):
        ENGINE_ERRORS.labels(name).inc()
        raise
    except EngineReplyError as error:
        if error.status >= FAULT_STATUS:
            ENGINE_ERRORS.labels(name).inc()
        raise
    finally:
        ENGINE_SECONDS.labels(name).observe(perf_counter() - began_s)
