"""Actors and workers in memory."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import Any

from abaco.domain.actor import RUNNABLE, Actor, ActorDefinition, ActorKey, ActorStatus
from abaco.domain.cron import CronChange
from abaco.domain.execution import ExecutionKey
from abaco.domain.host_access import HostAccess
from abaco.domain.permission import Level
from abaco.domain.worker import VIABLE, Worker, WorkerKey, WorkerStatus
from abaco.errors import InvalidInputError
from abaco.ports.images import Pin
from abaco.ports.store import ActorStore, WorkerStore
from backends.stores import rules
from backends.stores.event_rules import check_new_link
from backends.stores.memory.state import State, copy_actor


class MemoryActors(ActorStore):
    """Actors in a dictionary."""

    def __init__(self, state: State) -> None:
        self._state = state

    def _actor(self, key: ActorKey) -> Actor:
        actor = self._state.actors.get(key)
        if actor is None:
            raise rules.no_actor(key)
        return actor

    def _open_actor(self, key: ActorKey) -> Actor:
        actor = self._actor(key)
        rules.check_open(key, actor.status)
        return actor

    def _put(self, actor: Actor) -> Actor:
        self._state.actors[actor.key] = copy_actor(actor)
        return copy_actor(actor)

    def _put_defined(self, actor: Actor) -> Actor:
        """Store an actor whose definition is new, its secret apart, unless links lead back."""
        secret = actor.definition.webhook_secret
        bare = replace(actor, definition=replace(actor.definition, webhook_secret=None))
        previous = self._state.actors.get(actor.key)
        stored = self._put(bare)
        try:
            check_new_link(actor.key, actor.definition.link, self._state.follow_link)
        except InvalidInputError:
            if previous is None:
                del self._state.actors[actor.key]
            else:
                self._put(previous)
            raise
        self._state.keep_secret(actor.key, secret)
        return stored

    async def insert(self, actor: Actor) -> None:
        """Add an actor."""
        if actor.key in self._state.actors:
            raise rules.already_exists("an actor", actor.id)
        self._put_defined(actor)
        self._state.count_day(actor.create_time, actors=1)
        self._state.permissions[actor.key.shared] = {actor.owner: Level.UPDATE}

    async def get(self, key: ActorKey) -> Actor:
        """Return the actor."""
        return copy_actor(self._actor(key))

    async def get_many(self, keys: Collection[ActorKey]) -> list[Actor]:
        """Return the actors that exist, by (create_time, id, tenant)."""
        found = [self._state.actors[key] for key in set(keys) if key in self._state.actors]
        return [copy_actor(actor) for actor in sorted(found, key=rules.age)]

    async def list_actors(self, *, after: Actor | None = None, limit: int = 1000) -> list[Actor]:
        """Page actors by (create_time, id, tenant)."""
        found = [
            actor
            for actor in self._state.actors.values()
            if after is None or rules.age(actor) > rules.age(after)
        ]
        return [copy_actor(actor) for actor in sorted(found, key=rules.age)[:limit]]

    async def update(
        self,
        key: ActorKey,
        definition: ActorDefinition,
        *,
        new_revision: bool,
        now: datetime,
        expect_revision: int | None = None,
        cron: CronChange | None = None,
        host: HostAccess | None = None,
        pull_image: bool = False,
    ) -> Actor:
        """Replace the definition."""
        actor = self._open_actor(key)
        rules.check_expected("the revision", actor.revision, expect_revision)
        updated = self._put_defined(
            replace(
                actor,
                definition=definition,
                last_update_time=now,
                status=ActorStatus.SUBMITTED if new_revision else actor.status,
                status_message="",
                revision=actor.revision + new_revision,
                cron=actor.cron if cron is None else cron.apply(actor.cron),
                host=actor.host if host is None else host,
            )
        )
        if new_revision and pull_image:
            self._state.pins[key] = (updated.revision, Pin(is_forced=True))
        return updated

    async def set_status(
        self,
        key: ActorKey,
        status: ActorStatus,
        message: str,
        *,
        expect: Collection[ActorStatus],
        revision: int | None = None,
    ) -> bool:
        """Compare-and-set the status and its message."""
        actor = self._actor(key)
        if actor.status not in expect or revision not in (None, actor.revision):
            return False
        self._put(replace(actor, status=status, status_message=message))
        self._state.announce(key, self._state.policy.of_status(actor.status, status, message))
        return True

    async def set_state(
        self, key: ActorKey, state: Any, *, expect_version: int | None = None
    ) -> Actor:
        """Replace the state blob."""
        actor = self._open_actor(key)
        rules.check_expected("the state's version", actor.state_version, expect_version)
        return self._put(replace(actor, state=state, state_version=actor.state_version + 1))

    async def delete(self, key: ActorKey) -> None:
        """Remove the actor and all that is only its own."""
        state = self._state
        state.drop_queued(key, rules.deletion(state.clock.now()))
        for alias in [each for each in state.aliases.values() if each.actor == key]:
            state.drop_alias(alias)
        state.actors.pop(key, None)
        state.forget_secret(key)
        state.pins.pop(key, None)
        state.workers.pop(key, None)
        state.drop_receipts(key)
        state.unshare(key.shared)
        state.unlist(key.tenant, key.id)
        stores: tuple[dict[ExecutionKey, Any], ...] = (
            state.logs,
            state.results,
            state.result_counts,
        )
        for store in stores:
            for execution in [each for each in store if each.actor == key]:
                del store[execution]


class MemoryWorkers(WorkerStore):
    """Worker records in a dictionary per actor."""

    def __init__(self, state: State) -> None:
        self._state = state

    def _worker(self, key: WorkerKey) -> Worker:
        worker = self._state.find_worker(key)
        if worker is None:
            raise rules.no_worker(key)
        return worker

    async def request(self, worker: Worker, *, limit: int) -> bool:
        """Insert the record if there is room in the pool."""
        actor = self._state.actors.get(worker.key.actor)
        if actor is None or actor.status not in RUNNABLE or actor.revision != worker.revision:
            return False
        pool = self._state.workers[actor.key]
        if sum(each.status in VIABLE or each.is_retiring for each in pool.values()) >= limit:
            return False
        if worker.id in pool:
            raise rules.already_exists("a worker", worker.id)
        pool[worker.id] = worker
        self._state.count_day(worker.create_time, workers=1)
        return True

    async def get(self, key: WorkerKey) -> Worker:
        """Return the worker."""
        return self._worker(key)

    async def list_workers(self, actor: ActorKey | None = None) -> list[Worker]:
        """Return the workers of one actor or of all, by (create_time, id)."""
        pools = (
            self._state.workers.values() if actor is None else [self._state.workers.get(actor, {})]
        )
        found = [worker for pool in pools for worker in pool.values()]
        return sorted(found, key=lambda worker: (worker.create_time, *reversed(worker.key)))

    async def set_status(
        self, key: WorkerKey, status: WorkerStatus, *, expect: Collection[WorkerStatus]
    ) -> bool:
        """Compare-and-set the status."""
        worker = self._worker(key)
        if worker.status not in expect:
            return False
        is_error = status is WorkerStatus.ERROR
        previous = worker.status if is_error else worker.previous_status
        self._state.put_worker(
            replace(worker, status=status, previous_status=previous, is_retiring=False)
        )
        return True

    async def retire_idle(self, key: WorkerKey, *, revocable: bool) -> bool:
        """Set READY -> SHUTDOWN_REQUESTED if nothing waits."""
        worker = self._worker(key)
        if worker.status is not WorkerStatus.READY or self._state.find_box(key.actor).queued:
            return False
        self._state.put_worker(
            replace(worker, status=WorkerStatus.SHUTDOWN_REQUESTED, is_retiring=revocable)
        )
        return True

    async def leave(self, key: WorkerKey) -> bool:
        """Delete the record, or call the worker back."""
        worker, actor = self._state.find_worker(key), self._state.actors.get(key.actor)
        if worker is None:
            return True
        is_called_back = rules.is_called_back(
            is_retiring=worker.is_retiring,
            worker_revision=worker.revision,
            actor=actor.status if actor else None,
            actor_revision=actor.revision if actor else 0,
            queued=self._state.find_box(key.actor).queued,
        )
        if is_called_back:
            self._state.put_worker(replace(worker, status=WorkerStatus.READY, is_retiring=False))
        elif worker.status is not WorkerStatus.READY:
            del self._state.workers[key.actor][key.id]
            return True
        return False

    async def touch(self, keys: Collection[WorkerKey], now: datetime) -> None:
        """Stamp last_health_check_time."""
        for key in keys:
            worker = self._state.find_worker(key)
            if worker is not None:
                self._state.put_worker(replace(worker, last_health_check_time=now))

    async def delete(self, key: WorkerKey) -> None:
        """Remove the record."""
        self._state.workers.get(key.actor, {}).pop(key.id, None)
