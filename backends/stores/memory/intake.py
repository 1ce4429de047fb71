"""The way in, in memory."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from abaco.domain.actor import ActorKey
from abaco.domain.ids import ExecutionId, Tenant
from abaco.ports.intake import ANY_ROOM, Intake, Receipt, RetryKey, Room, Submission
from backends.stores import intake_rules, rules
from backends.stores.memory.state import KeptReceipt, State, copy_message


@dataclass(slots=True)
class MemoryIntake(Intake):
    """Mailboxes, filled."""

    state: State

    async def submit(
        self,
        batch: Sequence[Submission],
        *,
        now: datetime,
        room: Room = ANY_ROOM,
        key: RetryKey | None = None,
    ) -> Receipt:
        """Store all executions and messages."""
        actor = intake_rules.check_batch(batch)
        if key is not None:
            kept = self.state.receipts.get((actor, key.user, key.text))
            if kept is not None and kept.expires_at > now:
                intake_rules.check_repeat(key, kept.digest)
                return Receipt(execution_ids=kept.execution_ids, is_replay=True)
        self._check(actor, batch, room)
        put_batch(self.state, actor, batch)
        ids = tuple(execution.id for execution, _ in batch)
        if key is not None:
            self.state.receipts[actor, key.user, key.text] = KeptReceipt(
                digest=key.digest, execution_ids=ids, expires_at=key.expires_at
            )
        return Receipt(execution_ids=ids)

    def _check(self, actor: ActorKey, batch: Sequence[Submission], room: Room) -> None:
        found = self.state.actors.get(actor)
        intake_rules.check_intake(
            actor,
            found.status if found else None,
            room,
            len(batch),
            queued=self.state.find_box(actor).queued,
            tenant_queued=self.state.waiting[actor.tenant],
        )
        ids = [execution.id for execution, _ in batch]
        if len(set(ids)) < len(ids) or any(
            self.state.find_execution(execution.key) for execution, _ in batch
        ):
            raise intake_rules.taken(ids)

    async def waiting(self, tenant: Tenant) -> int:
        """Count the queued messages of a tenant."""
        return self.state.waiting[tenant]

    async def with_blobs(self, executions: Collection[ExecutionId]) -> set[ExecutionId]:
        """Look among all messages."""
        wanted = set(executions)
        return {
            message.execution_id
            for box in self.state.boxes.values()
            for message in box.messages.values()
            if message.blob is not None and message.execution_id in wanted
        }

    async def expire(self, now: datetime, *, limit: int = 1000) -> int:
        """Remove keys whose expiry has passed."""
        receipts = self.state.receipts
        expired = sorted(
            (kept.expires_at, place) for place, kept in receipts.items() if kept.expires_at <= now
        )[:limit]
        for _, place in expired:
            del receipts[place]
        return len(expired)


def put_batch(state: State, actor: ActorKey, batch: Sequence[Submission]) -> None:
    """Queue messages that were checked."""
    box = state.boxes[actor] = state.find_box(actor)
    for execution, message in batch:
        queued = copy_message(replace(rules.as_queued(message), seq=box.last_seq + 1))
        state.put_execution(execution)
        state.seqs[execution.key] = box.last_seq = queued.seq
        box.messages[queued.seq] = queued
        heapq.heappush(box.waiting, queued.seq)
        state.count_day(execution.message_received_time, executions=1)
    box.count += len(batch)
    state.count(accepted=len(batch))
    state.move_queued(actor.tenant, len(batch))
