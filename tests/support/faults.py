"""Ports that fail on purpose, once or for a while, before or after the call took effect."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from dataclasses import fields, replace
from enum import StrEnum
from typing import Any

from abaco.errors import (
    AbacoError,
    DriverError,
    EngineTimeoutError,
    EngineUnavailableError,
    StoreUnavailableError,
)
from abaco.ports.driver import Driver
from abaco.ports.store import Stores


class When(StrEnum):
    """Where in the call the fault strikes."""

    BEFORE = "before"  # nothing happened
    AFTER = "after"  # it happened, the answer is lost


class Fault:
    """Strikes the first ``times`` calls of one method, on whatever port it is."""

    def __init__(
        self, method: str, when: When, error: Callable[[], BaseException], times: int = 1
    ) -> None:
        self.method = method
        self.when = when
        self.error = error
        self.left = times
        self.struck = 0

    def strikes(self, method: str) -> bool:
        if method != self.method or not self.left:
            return False
        self.left -= 1
        self.struck += 1
        return True


class Faulty:
    """Stands before a port and lets a fault strike; everything else passes through."""

    def __init__(self, target: Any, fault: Fault) -> None:
        self._target = target
        self._fault = fault

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._target, name)
        if inspect.isasyncgenfunction(method):
            return self._stream(name, method)
        if not inspect.iscoroutinefunction(method):
            return method
        return self._call(name, method)

    def _call(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        async def call(*args: Any, **named: Any) -> Any:
            if not self._fault.strikes(name):
                return self._wrap(await method(*args, **named))
            if self._fault.when is When.AFTER:
                await method(*args, **named)
            raise self._fault.error()

        return call

    def _stream(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        async def stream(*args: Any, **named: Any) -> AsyncIterator[Any]:
            is_struck = self._fault.strikes(name)
            if is_struck and self._fault.when is When.BEFORE:
                raise self._fault.error()
            async for item in method(*args, **named):
                yield item
            if is_struck:
                raise self._fault.error()

        return stream

    def _wrap(self, value: Any) -> Any:
        is_running = hasattr(value, "container_id") and hasattr(value, "output")
        return Faulty(value, self._fault) if is_running else value


def faulty_stores(fault: Fault) -> Callable[[Stores], Stores]:
    """Return a wrapper that puts the fault before every store."""

    def wrap(stores: Stores) -> Stores:
        ports = {field.name: getattr(stores, field.name) for field in fields(stores)}
        return replace(stores, **{name: Faulty(port, fault) for name, port in ports.items()})

    return wrap


def faulty_driver(fault: Fault) -> Callable[[Driver], Driver]:
    """Return a wrapper that puts the fault before the driver and what it runs."""
    return lambda driver: Faulty(driver, fault)  # type: ignore[return-value]


def store_away() -> AbacoError:
    return StoreUnavailableError("the store is away (on purpose)")


def engine_away() -> AbacoError:
    return EngineUnavailableError("the engine is away (on purpose)")


def engine_confused() -> AbacoError:
    return DriverError("the engine answered 500 (on purpose)")


def engine_slow() -> AbacoError:
    return EngineTimeoutError("the engine is slow (on purpose)")
