"""Plays the spawner and the workers, by hand: for tests of everything in front of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from abaco.domain.actor import ActorKey, ActorStatus
from abaco.domain.execution import ExecutionKey, ExecutionStatus, IoDetail, Outcome
from abaco.domain.worker import STARTING, Worker, WorkerStatus
from abaco.operations.services import Services
from abaco.ports.notices import Topic
from abaco.ports.store import Claim

FINAL_STATE = {
    "Status": "exited",
    "Running": False,
    "Paused": False,
    "Restarting": False,
    "OOMKilled": False,
    "Dead": False,
    "Pid": 0,
    "ExitCode": 0,
    "Error": "",
    "StartedAt": "2024-05-01T14:45:41.591Z",
    "FinishedAt": "2024-05-01T14:45:42.591Z",
}


class Player:
    """Moves records as agents would, one step at a time and only when told."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._stores = services.stores
        self._handed_back: Counter[ExecutionKey] = Counter()

    async def raise_workers(self, actor: ActorKey) -> list[Worker]:
        """Bring every requested worker up, and the actor with them."""
        workers = self._stores.workers
        for worker in await workers.list_workers(actor):
            await workers.set_status(worker.key, WorkerStatus.READY, expect=STARTING)
            await workers.touch([worker.key], self._services.clock.now())
        await self._stores.actors.set_status(
            actor, ActorStatus.READY, " ", expect={ActorStatus.SUBMITTED}
        )
        self._services.notices.publish(Topic.ACTOR, actor)
        return await workers.list_workers(actor)

    async def claim(self, actor: ActorKey) -> Claim:
        """Take the next message with the first ready worker."""
        ready = [
            worker
            for worker in await self.raise_workers(actor)
            if worker.status is WorkerStatus.READY
        ]
        now = self._services.clock.now()
        claim = await self._stores.mailbox.claim(ready[0].key, ready[0].revision, now)
        assert isinstance(claim, Claim), claim
        return claim

    async def start(self, actor: ActorKey, output: bytes = b"") -> Claim:
        """Take the next message and run it; it writes ``output`` and goes on."""
        claim = await self.claim(actor)
        key, attempt = claim.execution.key, claim.execution.attempt
        now = self._services.clock.now()
        assert await self._stores.mailbox.mark_running(key, attempt, f"box-{key.id}", now)
        self._services.notices.publish(Topic.EXECUTION, key)
        await self.write(claim, output)
        return claim

    async def write(self, claim: Claim, output: bytes, *, max_bytes: int | None = None) -> None:
        """Let the container write."""
        logs, key = self._stores.logs, claim.execution.key
        offset = (await logs.read(key)).bytes_seen
        limit = max_bytes or self._services.settings.web.max_log_length
        await logs.append(key, offset, output, max_bytes=limit, expires_at=None)
        self._services.notices.publish(Topic.LOG, key)

    async def hand_back(self, claim: Claim, results: Iterable[bytes]) -> None:
        """Let the container send results."""
        key, expires_at = claim.execution.key, self._services.clock.now().replace(year=9999)
        for result in results:
            number = self._handed_back[key]
            self._handed_back[key] += 1
            await self._stores.results.push(key, number, [result], expires_at=expires_at)
            self._services.notices.publish(Topic.RESULT, key)

    async def end(self, claim: Claim, *, exit_code: int = 0, error: str = "") -> None:
        """End the run; with ``error`` the execution ends in ERROR."""
        now = self._services.clock.now()
        outcome = Outcome(
            status=ExecutionStatus.ERROR if error else ExecutionStatus.COMPLETE,
            finish_time=now,
            exit_code=None if error else exit_code,
            final_state=None if error else {**FINAL_STATE, "ExitCode": exit_code},
            cpu_ns=5_000_000,
            io_bytes=1_024,
            io_detail=IoDetail(net_rx=1_024, net_tx=512, blk_write=4_096),
            memory_peak_bytes=7_000_000,
            runtime_ms=2_500,
            error=error,
        )
        key = claim.execution.key
        assert await self._stores.mailbox.finalize(key, claim.execution.attempt, outcome, now=now)
        self._services.notices.publish(Topic.EXECUTION, key)

    async def run(self, actor: ActorKey, output: bytes = b"", *, exit_code: int = 0) -> Claim:
        """Run the next message from start to end."""
        claim = await self.start(actor, output)
        await self.end(claim, exit_code=exit_code)
        return claim

    async def retire(self, actor: ActorKey) -> None:
        """Wait until the actor is shut down and no message of it runs; then remove it."""
        notices = self._services.notices
        with notices.subscribe(Topic.ACTOR, Topic.EXECUTION) as subscription:
            while True:
                present = await self._stores.actors.get(actor)
                leased = await self._stores.executions.list_leased()
                is_idle = all(execution.key.actor != actor for execution in leased)
                if present.status is ActorStatus.SHUTTING_DOWN and is_idle:
                    break
                await subscription.wait()
        await self._stores.actors.delete(actor)
        notices.publish(Topic.ACTOR, actor)
