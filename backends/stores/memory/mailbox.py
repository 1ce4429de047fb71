"""Mailboxes and executions in memory."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from abaco.domain.actor import Actor, ActorKey
from abaco.domain.execution import (
    FINAL,
    Execution,
    ExecutionKey,
    ExecutionStatus,
    ExecutionTotals,
    HaltReason,
    Outcome,
)
from abaco.domain.ids import ExecutionId
from abaco.domain.message import MessageState
from abaco.domain.worker import WorkerKey, WorkerStatus
from abaco.ports.store import Claim, Counters, ExecutionStore, Mailbox, Refusal
from backends.stores import rules
from backends.stores.memory.state import State, copy_actor, copy_execution, copy_message


class MemoryMailbox(Mailbox):
    """Queues in a heap per actor."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def claim(self, worker: WorkerKey, revision: int, now: datetime) -> Claim | Refusal:
        """Lease the head of the queue."""
        actor = self._state.actors.get(worker.actor)
        record = self._state.find_worker(worker)
        box = self._state.find_box(worker.actor)
        refusal = rules.refuse_claim(
            actor=actor.status if actor else None,
            actor_revision=actor.revision if actor else 0,
            worker=record.status if record else None,
            worker_revision=revision,
            queued=box.queued,
            is_blocked=actor is not None and not actor.definition.stateless and box.leased > 0,
        )
        if refusal is not None:
            is_idle = record is not None and record.status is WorkerStatus.READY
            return refusal if is_idle else self._claim_again(worker, actor) or refusal
        assert actor is not None and record is not None  # noqa: S101, PT018 - not refused
        seq = heapq.heappop(box.waiting)
        message = replace(box.messages[seq], state=MessageState.LEASED, lease_owner=worker.id)
        box.messages[seq] = message
        fresh = self._state.executions[worker.actor][message.execution_id]
        execution = replace(fresh, worker_id=worker.id, attempt=fresh.attempt + 1)
        self._state.put_execution(execution)
        self._state.put_worker(replace(record, status=WorkerStatus.BUSY))
        self._state.count(leased=1)
        self._state.move_queued(worker.tenant, -1)
        return Claim(message=copy_message(message), execution=execution, actor=copy_actor(actor))

    def _claim_again(self, worker: WorkerKey, actor: Actor | None) -> Claim | None:
        """Repeat the claim whose answer was lost on its way to the worker."""
        for message in self._state.find_box(worker.actor).messages.values():
            if message.lease_owner == worker.id and actor is not None:
                execution = self._state.executions[worker.actor][message.execution_id]
                return Claim(
                    message=copy_message(message), execution=execution, actor=copy_actor(actor)
                )
        return None

    async def mark_running(
        self, key: ExecutionKey, attempt: int, container_id: str, start_time: datetime
    ) -> bool:
        """Set the execution SUBMITTED -> RUNNING; the same call again is no refusal."""
        run = self._state.find_run(key, attempt)
        if run is None or run.worker_id is None:
            return False
        if run.status is ExecutionStatus.RUNNING:
            return run.container_id == container_id
        self._state.put_execution(
            replace(
                run,
                status=ExecutionStatus.RUNNING,
                container_id=container_id,
                start_time=start_time,
            )
        )
        worker = self._state.find_worker(WorkerKey(key.tenant, key.actor_id, run.worker_id))
        if worker is not None:
            self._state.put_worker(replace(worker, container_id=container_id))
        hops = self._state.boxes[key.actor].messages[self._state.seqs[key]].hops
        self._state.announce(key.actor, self._state.policy.of_start(key.id), hops)
        return True

    async def finalize(
        self, key: ExecutionKey, attempt: int, outcome: Outcome, *, now: datetime
    ) -> bool:
        """Write the outcome and free the worker."""
        rules.check_final(outcome)
        run = self._state.find_run(key, attempt)
        if run is None:
            return False
        self._state.finish(run, outcome)
        self._state.free_worker(run, now)
        self._state.count(leased=-1, final=1)
        return True

    async def release(self, key: ExecutionKey, attempt: int, *, lost: bool) -> bool:
        """Put a leased message back, or end its execution if it must not run again."""
        run = self._state.find_run(key, attempt)
        if run is None:
            return False
        outcome = rules.end_instead(
            has_actor=key.actor in self._state.actors,
            halt=run.halt_requested,
            now=self._state.clock.now(),
        )
        if outcome is not None:
            self._state.finish(run, outcome)
            self._state.free_worker(run, None)
            self._state.count(leased=-1, final=1)
            return True
        waiting = replace(
            run,
            status=ExecutionStatus.SUBMITTED,
            worker_id=None,
            container_id="",
            start_time=None,
            losses=run.losses + lost,
        )
        self._state.put_execution(waiting)
        box, seq = self._state.boxes[key.actor], self._state.seqs[key]
        box.messages[seq] = replace(box.messages[seq], state=MessageState.QUEUED, lease_owner=None)
        heapq.heappush(box.waiting, seq)
        self._state.free_worker(run, None)
        self._state.count(leased=-1)
        self._state.move_queued(key.tenant, 1)
        return True

    async def count(self, actor: ActorKey) -> int:
        """Count queued messages."""
        return self._state.find_box(actor).queued

    async def purge(self, actor: ActorKey, outcome: Outcome) -> list[ExecutionId]:
        """Finalize all queued messages."""
        rules.check_final(outcome)
        return self._state.drop_queued(actor, outcome)

    async def backlog(self) -> Mapping[ActorKey, int]:
        """Return the queued count of every actor that has queued messages."""
        return {key: box.queued for key, box in self._state.boxes.items() if box.queued}


class MemoryExecutions(ExecutionStore):
    """Executions in a dictionary per actor."""

    def __init__(self, state: State) -> None:
        self._state = state

    def _execution(self, key: ExecutionKey) -> Execution:
        execution = self._state.find_execution(key)
        if execution is None:
            raise rules.no_execution(key)
        return execution

    async def get(self, key: ExecutionKey) -> Execution:
        """Return the execution."""
        return copy_execution(self._execution(key))

    async def list_executions(
        self, actor: ActorKey, *, after: Execution | None = None, limit: int = 1000
    ) -> list[Execution]:
        """Page an actor's executions."""
        found = [
            execution
            for execution in self._state.executions.get(actor, {}).values()
            if after is None or _place(execution) > _place(after)
        ]
        return [copy_execution(execution) for execution in sorted(found, key=_place)[:limit]]

    async def totals(self, actor: ActorKey) -> ExecutionTotals:
        """Return running totals."""
        box = self._state.find_box(actor)
        return ExecutionTotals(
            count=box.count,
            cpu_ns=box.cpu_ns,
            io_bytes=box.io_bytes,
            runtime_s=box.runtime_ms // 1000,
        )

    async def request_halt(self, key: ExecutionKey, reason: HaltReason) -> Execution:
        """Mark a RUNNING execution to be stopped."""
        execution = self._execution(key)
        rules.refuse_halt(execution)
        if execution.halt_requested is None:
            execution = replace(execution, halt_requested=reason)
            self._state.put_execution(execution)
        return execution

    async def list_leased(self) -> list[Execution]:
        """Return every execution whose message is leased."""
        live = (self._execution(key) for key in self._state.seqs)
        leased = [each for each in live if each.worker_id and each.status not in FINAL]
        return sorted(leased, key=lambda each: (each.message_received_time, *reversed(each.key)))

    async def counters(self) -> Counters:
        """Return the conservation counters."""
        return self._state.counters


def _place(execution: Execution) -> tuple[datetime, str]:
    return execution.message_received_time, execution.id
