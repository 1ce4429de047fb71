"""Python functions in containers: a ``concurrent.futures.Executor`` over an actor.

::

    with AbacoExecutor(url="http://127.0.0.1:8000") as executor:
        print(list(executor.map(abs, range(-5, 5))))

Functions, arguments and values travel pickled by cloudpickle (``pip install abaco[executor]``), and
whoever unpickles runs what was pickled. So an executor trusts its actor as far as its own process:
use one that you own, whose image is yours, and that nobody else has UPDATE on.
"""

from __future__ import annotations

import atexit
import heapq
import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, Executor, Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from abaco.calls import MAX_TEXT_CALL_BYTES, open_outcome, pack_call
from abaco.cli.client import AbacoClient
from abaco.remote_actor import ExecutorError, OutcomeLostError, RemoteActor

P = ParamSpec("P")
T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:8000"
#: what samples/executor builds
RUNNER_IMAGE = "abaco/executor"

#: bytes of the calls that one request holds at most, if it holds more than one
PORTION_BYTES = 350_000
#: seconds one execution is waited for before another one is looked at: as long as somebody is free
#: to look at those, and when nobody is
LONG_WAIT_S = 10.0
SHORT_WAIT_S = 2.0

#: times a call is sent whose outcome is lost
MAX_TRIES = 3

_log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class _Call:
    """A call on its way."""

    number: int
    future: Future[Any]
    payload: bytes
    execution_id: str = ""
    #: how often it was looked at in vain
    looks: int = 0
    #: how often it was sent and its outcome lost; then its future is running
    tries: int = 0


@dataclass(slots=True)
class _Desk:
    """What the threads share; all of it is guarded by ``changed``."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    #: not sent yet, and free to be cancelled
    waiting: deque[_Call] = field(default_factory=deque)
    #: sent, and looked at by nobody; those that were looked at in vain come later
    unwatched: list[tuple[int, int, _Call]] = field(default_factory=list)
    #: sent, or being sent, and without outcome
    handed_count: int = 0
    is_closing: bool = False
    #: nothing more will come
    is_done: bool = False
    fault: BaseException | None = None


class AbacoExecutor(Executor):
    """Runs calls in containers of one actor, each in a fresh one.

    A call is RUNNING from when it is handed to the server, and can be cancelled until then. Few
    are handed over ahead of time; the rest wait here. An exception in the container is raised by
    ``result()``, its cause is the remote traceback. All else that goes wrong is an ExecutorError.

    Nothing is sent before the first call. The actor it registers is deleted when it is shut down
    and all calls have ended; use it as a context manager.

    Args:
        actor: Id or alias of an actor that exists, and runs a runner's image; see above whom to
            trust. Without it an actor is registered.
        image: Image of that.
        workers: Workers to start with. The server adds workers by itself while messages wait.
        url: The server.
        headers: Prove who calls, as ``{"Authorization": "Bearer ..."}``.
        ca: File with the certificates of authorities to trust, instead of this machine's own.
        ahead: Calls handed to the server at a time.
        connections: Connections, and threads, that wait for outcomes.

    """

    def __init__(
        self,
        actor: str | None = None,
        *,
        image: str = RUNNER_IMAGE,
        workers: int | None = None,
        url: str = DEFAULT_URL,
        headers: Mapping[str, str] | None = None,
        ca: Path | None = None,
        ahead: int = 64,
        connections: int = 8,
    ) -> None:
        if ahead < 1 or connections < 1:
            raise ValueError("ahead and connections must be at least 1")
        self._pickler = _cloudpickle()
        client = AbacoClient(url, headers, ca=ca, connections=connections + 1)
        self._remote = RemoteActor(client, actor=actor, image=image, workers=workers)
        self._ahead = ahead
        self._connections = connections
        self._desk = _Desk()
        self._numbers = itertools.count()
        self._threads: list[threading.Thread] = []

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have a function called; what it needs is pickled here and now.

        Raises:
            RuntimeError: It is shut down, or (BrokenExecutor) could not get its actor.

        """
        payload = pack_call(self._pickler, fn, args, kwargs)
        future: Future[T] = Future()
        desk = self._desk
        with desk.changed:
            if desk.fault is not None:
                raise BrokenExecutor(f"there is no actor: {desk.fault}") from desk.fault
            if desk.is_closing:
                raise RuntimeError("cannot schedule new futures after shutdown")
            desk.waiting.append(_Call(next(self._numbers), future, payload))
            self._start()
            desk.changed.notify_all()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; with ``wait`` return when all have ended and the actor is deleted.

        With ``cancel_futures`` those that were not handed over are cancelled.
        """
        desk = self._desk
        with desk.changed:
            desk.is_closing = True
            cancelled = [call for call in desk.waiting if cancel_futures and not call.tries]
            for call in cancelled:
                desk.waiting.remove(call)
            desk.changed.notify_all()
        for call in cancelled:
            call.future.cancel()
            call.future.set_running_or_notify_cancel()
        if wait:
            for thread in self._threads:
                if thread is not threading.current_thread():
                    thread.join()

    def _start(self) -> None:
        """Start all threads; no later, because at the end of the interpreter none can be."""
        if self._threads:
            return
        targets = [self._send_all, *[self._watch_all] * self._connections]
        for number, target in enumerate(targets):
            name = f"abaco-executor-{number}"
            self._threads.append(threading.Thread(target=target, name=name, daemon=True))
        for thread in self._threads:
            thread.start()
        atexit.register(self.shutdown)

    # The thread that sends.

    def _send_all(self) -> None:
        try:
            self._remote.open()
        except BaseException as error:  # noqa: BLE001 - whoever waits for a call must be told
            self._break(error)
        while batch := self._next_batch():
            for portion in _portions(batch):
                self._hand_over(portion)
        try:
            self._remote.close()
        except ExecutorError as error:
            _log.warning("the actor %s stays: %s", self._remote.id, error)
        with self._desk.changed:
            self._desk.is_done = True
            self._desk.changed.notify_all()
        atexit.unregister(self.shutdown)

    def _break(self, error: BaseException) -> None:
        desk = self._desk
        with desk.changed:
            desk.fault, desk.is_closing = error, True
            calls = list(desk.waiting)
            desk.waiting.clear()
        for call in calls:
            if call.future.set_running_or_notify_cancel():
                call.future.set_exception(error)

    def _next_batch(self) -> list[_Call]:
        """Return what is to be sent now, and wait for it; empty when nothing will come."""
        desk = self._desk
        with desk.changed:
            while True:
                batch = []
                while desk.waiting and desk.handed_count < self._ahead:
                    call = desk.waiting.popleft()
                    if call.tries or call.future.set_running_or_notify_cancel():
                        batch.append(call)
                        desk.handed_count += 1
                is_over = desk.is_closing and not desk.waiting and not desk.handed_count
                if batch or is_over:
                    return batch
                desk.changed.wait()

    def _hand_over(self, portion: list[_Call]) -> None:
        try:
            payloads = [call.payload for call in portion]
            if _is_small(portion[0]):
                ids = self._remote.send_texts(payloads)
            else:
                ids = [self._remote.send_binary(payloads[0])]
            sent = list(zip(portion, ids, strict=True))
        except BaseException as error:  # noqa: BLE001 - whoever waits for a call must be told
            for call in portion:
                self._settle(call, error=error)
            return
        for call, execution_id in sent:
            call.execution_id = execution_id
            self._let_watch(call)

    def _let_watch(self, call: _Call) -> None:
        # A place further back for each look: long runs do not keep others from being looked at.
        place = call.number + call.looks * self._connections
        with self._desk.changed:
            heapq.heappush(self._desk.unwatched, (place, call.number, call))
            self._desk.changed.notify_all()

    # The threads that wait for outcomes.

    def _watch_all(self) -> None:
        while (found := self._next_watched()) is not None:
            call, wait_s = found
            try:
                execution = self._remote.await_final(call.execution_id, wait_s)
                if execution is None:
                    call.looks += 1
                    self._let_watch(call)
                    continue
                value = open_outcome(self._remote.take_outcome(execution))
            except BaseException as error:  # noqa: BLE001 - of the call, or why it has no outcome
                if not (isinstance(error, OutcomeLostError) and self._send_again(call)):
                    self._settle(call, error=error)
            else:
                self._settle(call, value)

    def _next_watched(self) -> tuple[_Call, float] | None:
        """Return a call to look at, and for how long; None when there will be none."""
        desk = self._desk
        with desk.changed:
            while not desk.unwatched:
                if desk.is_done:
                    return None
                desk.changed.wait()
            call = heapq.heappop(desk.unwatched)[-1]
            is_crowded = desk.handed_count >= self._connections
            longest = SHORT_WAIT_S if is_crowded else LONG_WAIT_S
            return call, min(longest, SHORT_WAIT_S * 2**call.looks)

    def _send_again(self, call: _Call) -> bool:
        """Have a call sent again, as the server runs a message again whose run was lost."""
        call.tries, call.looks = call.tries + 1, 0
        if call.tries == MAX_TRIES:
            return False
        with self._desk.changed:
            self._desk.handed_count -= 1
            self._desk.waiting.appendleft(call)
            self._desk.changed.notify_all()
        return True

    def _settle(
        self, call: _Call, value: object = None, *, error: BaseException | None = None
    ) -> None:
        with self._desk.changed:
            self._desk.handed_count -= 1
            self._desk.changed.notify_all()
        if error is None:
            call.future.set_result(value)
        else:
            call.future.set_exception(error)


def _is_small(call: _Call) -> bool:
    return len(call.payload) <= MAX_TEXT_CALL_BYTES


def _portions(batch: list[_Call]) -> Iterator[list[_Call]]:
    """Cut a batch into what one request can hold, in order; a large call has one of its own."""
    portion: list[_Call] = []
    size = 0
    for call in batch:
        own = len(call.payload)
        is_full = size + own > PORTION_BYTES
        if portion and (is_full or not (_is_small(call) and _is_small(portion[0]))):
            yield portion
            portion, size = [], 0
        portion.append(call)
        size += own
    if portion:
        yield portion


def _cloudpickle() -> Any:
    try:
        import cloudpickle
    except ImportError as error:
        raise ImportError(
            "functions travel by cloudpickle, which is not here: pip install 'abaco[executor]'"
        ) from error
    return cloudpickle
