"""Starts, names, restarts and stops every long-lived coroutine."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

from abaco.domain.health import AgentReport
from abaco.ports.clock import Clock

_log = logging.getLogger(__name__)

#: an agent that crashes this often within the window ends the process
MAX_CRASHES = 8
CRASH_WINDOW_S = 60.0
#: first pause before a restart; doubles with each crash in the window
FIRST_BACKOFF_S = 0.1
MAX_BACKOFF_S = 5.0


@dataclass(slots=True)
class _Agent:
    name: str
    run: Callable[[], Awaitable[None]]
    started_at_s: float
    restart_count: int = 0
    last_failure: str | None = None
    last_failure_time: datetime | None = None
    is_running: bool = True
    is_lasting: bool = True
    crashes_s: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_CRASHES))
    task: asyncio.Task[None] | None = None


class Supervisor:
    """Owns the tasks of all agents. Nothing else in the process makes long-lived tasks.

    Args:
        clock: For ages and failure times.
        stop_timeout_s: Seconds a cancelled agent may take to end.

    """

    def __init__(self, clock: Clock, *, stop_timeout_s: float = 2.0) -> None:
        self._clock = clock
        self._stop_timeout_s = stop_timeout_s
        self._agents: dict[str, _Agent] = {}
        self._is_stopping = False
        #: set when an agent crashed too often; the process must end with an error
        self.has_failed = asyncio.Event()

    def start(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Start an agent that runs until cancelled, and restart it when it crashes."""
        self._start(name, run, on_end=None)

    def start_once(
        self,
        name: str,
        run: Callable[[], Awaitable[None]],
        on_end: Callable[[BaseException | None], Awaitable[None]],
    ) -> None:
        """Start an agent that ends by itself.

        ``on_end`` is awaited afterwards with the exception it died of, or None; not when the
        supervisor stops it.
        """
        self._start(name, run, on_end=on_end)

    def _start(
        self,
        name: str,
        run: Callable[[], Awaitable[None]],
        on_end: Callable[[BaseException | None], Awaitable[None]] | None,
    ) -> None:
        if name in self._agents:
            raise ValueError(f"an agent named {name!r} is running")
        if self._is_stopping:
            return
        agent = _Agent(
            name=name,
            run=run,
            started_at_s=self._clock.monotonic(),
            is_lasting=on_end is None,
        )
        self._agents[name] = agent
        work = self._run_for_ever(agent) if on_end is None else self._run_once(agent, on_end)
        agent.task = asyncio.create_task(work, name=name)
        # a callback, because a task that is cancelled before its first step runs no finally
        agent.task.add_done_callback(lambda _: self._agents.pop(name))

    async def stop(self) -> None:
        """Cancel all agents, wait for their end, and start no others."""
        self._is_stopping = True
        tasks = [agent.task for agent in self._agents.values() if agent.task is not None]
        for task in tasks:
            task.cancel()
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=self._stop_timeout_s)
        for task in late:
            _log.error("agent %s did not stop within %s s", task.get_name(), self._stop_timeout_s)

    def report(self) -> list[AgentReport]:
        """Describe every agent, by name."""
        now_s = self._clock.monotonic()
        return [
            AgentReport(
                name=agent.name,
                is_running=agent.is_running,
                age_s=now_s - agent.started_at_s,
                restart_count=agent.restart_count,
                last_failure=agent.last_failure,
                last_failure_time=agent.last_failure_time,
                is_lasting=agent.is_lasting,
            )
            for agent in sorted(self._agents.values(), key=lambda agent: agent.name)
        ]

    async def _run_once(
        self, agent: _Agent, on_end: Callable[[BaseException | None], Awaitable[None]]
    ) -> None:
        failure: BaseException | None = None
        try:
            await agent.run()
        except Exception as error:  # noqa: BLE001 - the supervisor is where crashes end
            failure = error
            self._note(agent, error)
        while True:
            try:
                await on_end(failure)
            except Exception as error:  # noqa: BLE001 - the supervisor is where crashes end
                self._note(agent, error)
                await self._pause(agent)
            else:
                return

    async def _run_for_ever(self, agent: _Agent) -> None:
        while True:
            try:
                await agent.run()
                raise RuntimeError(f"agent {agent.name} returned without being cancelled")
            except Exception as error:  # noqa: BLE001 - the supervisor is where crashes end
                self._note(agent, error)
            if self._crashes_too_often(agent):
                _log.critical("agent %s crashed %d times; giving up", agent.name, MAX_CRASHES)
                agent.is_running = False
                self.has_failed.set()
                await asyncio.Event().wait()
            await self._pause(agent)
            agent.restart_count += 1
            agent.started_at_s = self._clock.monotonic()

    def _note(self, agent: _Agent, error: Exception) -> None:
        _log.error("agent %s crashed", agent.name, exc_info=error)
        agent.last_failure = f"{type(error).__name__}: {error}"
        agent.last_failure_time = self._clock.now()
        agent.crashes_s.append(self._clock.monotonic())

    def _crashes_too_often(self, agent: _Agent) -> bool:
        window = len(agent.crashes_s) == MAX_CRASHES
        return window and self._clock.monotonic() - agent.crashes_s[0] < CRASH_WINDOW_S

    async def _pause(self, agent: _Agent) -> None:
        since_s = self._clock.monotonic() - CRASH_WINDOW_S
        recent = sum(1 for crash_s in agent.crashes_s if crash_s > since_s)
        backoff_s = min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2 ** (recent - 1))
        await asyncio.sleep(backoff_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
