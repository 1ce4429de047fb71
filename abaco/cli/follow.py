"""Waiting for the server: an actor to become ready, an execution to end.

The log of a running execution is sent by servers that offer that. For everything else this module,
and only this one, asks again and again: soon after something changed, less and less often while
nothing does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from abaco.cli.client import AbacoClient, ClientError
from abaco.cli.stream import LogTail

#: seconds between two questions: at first, and at most
FIRST_INTERVAL_S = 0.3
LONGEST_INTERVAL_S = 2.0

#: statuses of an execution that has ended
FINAL = ("COMPLETE", "ERROR")


class Pace:
    """The pauses between questions, bounded by a time-out.

    Args:
        timeout_s: Seconds until ``rounds`` ends; None means never.

    """

    def __init__(self, timeout_s: float | None) -> None:
        self._deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._interval_s = FIRST_INTERVAL_S

    def rounds(self) -> Iterator[None]:
        """Yield at once, then after each pause, until the time is up."""
        yield
        while True:
            pause_s = self._interval_s
            if self._deadline is not None:
                pause_s = min(pause_s, self._deadline - time.monotonic())
            if pause_s <= 0:
                return
            time.sleep(pause_s)
            self._interval_s = min(self._interval_s * 1.3, LONGEST_INTERVAL_S)
            yield

    def hurry(self) -> None:
        """Ask soon again: something has just changed."""
        self._interval_s = FIRST_INTERVAL_S


def follow_execution(
    client: AbacoClient,
    actor_id: str,
    execution_id: str,
    *,
    on_log: Callable[[str], None],
    on_status: Callable[[str], None],
    timeout_s: float | None = None,
) -> dict[str, Any]:
    """Hand over an execution's log as it grows, until the execution is final.

    Returns:
        The execution as last seen; not final when the time is up.

    """
    pace, shown = Pace(timeout_s), 0
    tail = LogTail(client, actor_id, execution_id)
    execution: dict[str, Any] = {}
    for _ in pace.rounds():
        # Status before log: a log is complete once the status is final.
        execution = client.get(actor_id, "executions", execution_id)
        # A stream may be silent for long, so it is not for those in a hurry.
        if execution["status"] == "RUNNING" and tail.is_offered and timeout_s is None:
            shown = _take_stream(tail, shown, on_log, on_status)
            pace.hurry()
            if tail.has_ended:
                return client.get(actor_id, "executions", execution_id)  # type: ignore[no-any-return]
            if tail.is_offered:
                continue
        text = str(client.get(actor_id, "executions", execution_id, "logs")["logs"])
        is_final = execution["status"] in FINAL
        if not is_final:  # half a character at the end is whole the next time
            text = text.rstrip("\ufffd")
        if len(text) > shown:
            on_log(text[shown:])
            shown = len(text)
            pace.hurry()
        if is_final:
            break
        if shown == 0:
            on_status(_execution_text(client, actor_id, execution))
    return execution


def _take_stream(
    tail: LogTail, shown: int, on_log: Callable[[str], None], on_status: Callable[[str], None]
) -> int:
    """Hand over what the server sends. Returns how much of the log was shown in all."""
    for text in tail.read():
        if text is None:
            shown = 0
            on_status("the run was lost; the message runs again, and its log begins anew")
        else:
            on_log(text)
            shown += len(text)
    return shown


def wait_until_ready(
    client: AbacoClient,
    actor_id: str,
    *,
    on_status: Callable[[str], None],
    timeout_s: float | None = None,
) -> dict[str, Any]:
    """Wait until an actor can answer messages; return it.

    Raises:
        ClientError: It went to ERROR, or the time is up.

    """
    actor: dict[str, Any] = {}
    for _ in Pace(timeout_s).rounds():
        actor = client.get(actor_id)
        if actor["status"] == "READY":
            return actor
        if actor["status"] != "SUBMITTED":
            reason = actor.get("status_message", "").strip()
            raise ClientError(f"actor {actor_id} is {actor['status']}: {reason or 'no reason'}")
        on_status(_waiting_text(client, actor))
    raise ClientError(f"actor {actor_id} is still {actor.get('status')}; waited {timeout_s:g} s")


def _execution_text(client: AbacoClient, actor_id: str, execution: dict[str, Any]) -> str:
    if execution["status"] == "RUNNING":
        return f"execution {execution['id']} is running"
    actor = client.get(actor_id)
    reason = actor.get("status_message", "").strip()
    if actor["status"] == "ERROR":
        return f"the message waits: the actor is in ERROR ({reason})"
    return f"the message waits ({_waiting_text(client, actor)})"


def _waiting_text(client: AbacoClient, actor: dict[str, Any]) -> str:
    """Say what keeps an actor: what it says itself (how far a pull is), or its workers do."""
    if reason := actor.get("status_message", "").strip():
        return str(reason)
    workers = client.get(actor["id"], "workers")
    statuses = [str(worker["status"]).lower() for worker in workers]
    return f"worker: {', '.join(statuses)}" if statuses else "no worker yet"
