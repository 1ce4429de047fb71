"""Random steps, taken on every backend at once, must look the same from outside on each."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from abaco.domain.actor import Actor, ActorStatus
from abaco.domain.execution import FINAL, Execution, HaltReason
from abaco.domain.ids import ActorId, ExecutionId, WorkerId
from abaco.domain.worker import WorkerStatus
from abaco.ports.store import Stores
from tests.support.alike import NamedStep, Step, compare
from tests.support.alike import steps as _steps
from tests.support.records import (
    a_definition,
    a_host,
    a_message,
    a_worker,
    an_actor,
    an_error_outcome,
    an_execution,
    an_outcome,
    at,
)
from tests.support.stores import enqueue

#: few names, so that steps meet
ACTORS = [
    an_actor(id=ActorId("stateless")),
    an_actor(id=ActorId("stateful"), stateless=False),
]
EXECUTIONS = [ExecutionId(f"e{n}") for n in range(6)]
WORKERS = [WorkerId(f"w{n}") for n in range(3)]

actors = st.sampled_from(ACTORS)
actor_statuses = st.sampled_from(ActorStatus)
worker_statuses = st.sampled_from(WorkerStatus)
attempts = st.integers(0, 3)
seconds = st.integers(0, 5)


def _execution(actor: Actor, index: int) -> Any:
    return an_execution(actor, id=EXECUTIONS[index], message_received_time=at(index % 3))


def _worker(actor: Actor, index: int) -> Any:
    return a_worker(actor, id=WORKERS[index], create_time=at(index % 2))


def _submit(actor: Actor, index: int, body: Any, max_queued: int | None) -> Step:
    execution = _execution(actor, index)
    message = a_message(execution, body=body)
    return lambda stores: enqueue(stores, execution, message, max_queued=max_queued)


def _request(actor: Actor, index: int, limit: int, revision: int) -> Step:
    worker = a_worker(
        actor,
        id=WORKERS[index],
        create_time=at(index % 2),
        revision=revision,
        status=WorkerStatus.READY,
    )
    return lambda stores: stores.workers.request(worker, limit=limit)


def _append(actor: Actor, index: int, offset: int, data: bytes, expires_s: int | None) -> Step:
    key = _execution(actor, index).key
    expires_at = None if expires_s is None else at(expires_s)
    return lambda stores: stores.logs.append(key, offset, data, max_bytes=6, expires_at=expires_at)


execution_index = st.integers(0, len(EXECUTIONS) - 1)
worker_index = st.integers(0, len(WORKERS) - 1)


def insert(actor: Actor) -> Step:
    return lambda stores: stores.actors.insert(actor)


def update(actor: Actor, new_revision: bool, expected: int | None, uid: int | None) -> Step:
    return lambda stores: stores.actors.update(
        actor.key,
        a_definition(stateless=actor.definition.stateless, name="new"),
        new_revision=new_revision,
        now=at(1),
        expect_revision=expected,
        host=None if uid is None else a_host(uid=uid),
    )


def set_actor_status(
    actor: Actor, status: ActorStatus, expect: set[ActorStatus], revision: int | None
) -> Step:
    return lambda stores: stores.actors.set_status(
        actor.key, status, "said", expect=expect, revision=revision
    )


def set_state(actor: Actor, state: Any, version: int | None) -> Step:
    return lambda stores: stores.actors.set_state(actor.key, state, expect_version=version)


def delete_actor(actor: Actor) -> Step:
    return lambda stores: stores.actors.delete(actor.key)


def claim(actor: Actor, worker: int, revision: int) -> Step:
    return lambda stores: stores.mailbox.claim(_worker(actor, worker).key, revision, at(0))


def mark_running(actor: Actor, index: int, attempt: int, container: str) -> Step:
    key = _execution(actor, index).key
    return lambda stores: stores.mailbox.mark_running(key, attempt, container, at(1))


def finalize(actor: Actor, index: int, attempt: int, code: int) -> Step:
    key, outcome = _execution(actor, index).key, an_outcome(exit_code=code)
    return lambda stores: stores.mailbox.finalize(key, attempt, outcome, now=at(code))


def release(actor: Actor, index: int, attempt: int, lost: bool) -> Step:
    key = _execution(actor, index).key
    return lambda stores: stores.mailbox.release(key, attempt, lost=lost)


def purge(actor: Actor) -> Step:
    return lambda stores: stores.mailbox.purge(actor.key, an_error_outcome("purged", cpu_ns=2))


def request_halt(actor: Actor, index: int, reason: HaltReason) -> Step:
    key = _execution(actor, index).key
    return lambda stores: stores.executions.request_halt(key, reason)


def set_worker_status(
    actor: Actor, index: int, status: WorkerStatus, expect: set[WorkerStatus]
) -> Step:
    key = _worker(actor, index).key
    return lambda stores: stores.workers.set_status(key, status, expect=expect)


def leave(actor: Actor, index: int) -> Step:
    return lambda stores: stores.workers.leave(_worker(actor, index).key)


def retire_idle(actor: Actor, index: int) -> Step:
    return lambda stores: stores.workers.retire_idle(
        _worker(actor, index).key, revocable=index % 2 == 0
    )


def touch(actor: Actor, indexes: list[int], second: int) -> Step:
    keys = [_worker(actor, index).key for index in indexes]
    return lambda stores: stores.workers.touch(keys, at(second))


def delete_worker(actor: Actor, index: int) -> Step:
    return lambda stores: stores.workers.delete(_worker(actor, index).key)


def expire_logs(second: int, limit: int) -> Step:
    return lambda stores: stores.logs.expire(at(second), limit=limit)


def clear_log(actor: Actor, index: int) -> Step:
    return lambda stores: stores.logs.clear(_execution(actor, index).key)


def push(actor: Actor, index: int, first: int, results: list[bytes], second: int) -> Step:
    key = _execution(actor, index).key
    return lambda stores: stores.results.push(key, first, results, expires_at=at(second))


def clear_results(actor: Actor, index: int) -> Step:
    return lambda stores: stores.results.clear(_execution(actor, index).key)


def pop(actor: Actor, index: int, second: int) -> Step:
    return lambda stores: stores.results.pop(_execution(actor, index).key, at(second))


def expire_results(second: int, limit: int) -> Step:
    return lambda stores: stores.results.expire(at(second), limit=limit)


def acquire(holder: str, second: int) -> Step:
    return lambda stores: stores.instance.acquire(holder, at(second), 2)


def heartbeat(epoch: int, second: int) -> Step:
    return lambda stores: stores.instance.heartbeat(epoch, at(second), 2)


def release_place(epoch: int) -> Step:
    return lambda stores: stores.instance.release(epoch)


# Steps that look first, so that they meet what is there. Alike stores look alike.


def claim_ready(index: int) -> Step:
    async def step(stores: Stores) -> Any:
        ready = [
            worker
            for worker in await stores.workers.list_workers()
            if worker.status is WorkerStatus.READY
        ]
        if not ready:
            return None
        worker = ready[index % len(ready)]
        return await stores.mailbox.claim(worker.key, worker.revision, at(0))

    return step


async def _leased(stores: Stores, index: int) -> Execution | None:
    leased = await stores.executions.list_leased()
    return leased[index % len(leased)] if leased else None


def run_leased(index: int) -> Step:
    async def step(stores: Stores) -> Any:
        run = await _leased(stores, index)
        return run and await stores.mailbox.mark_running(run.key, run.attempt, "c", at(1))

    return step


def finalize_leased(index: int, late_by: int) -> Step:
    async def step(stores: Stores) -> Any:
        run = await _leased(stores, index)
        return run and await stores.mailbox.finalize(
            run.key, run.attempt - late_by, an_outcome(), now=at(2)
        )

    return step


def release_leased(index: int, late_by: int, lost: bool) -> Step:
    async def step(stores: Stores) -> Any:
        run = await _leased(stores, index)
        return run and await stores.mailbox.release(run.key, run.attempt - late_by, lost=lost)

    return step


def halt_leased(index: int, reason: HaltReason) -> Step:
    async def step(stores: Stores) -> Any:
        run = await _leased(stores, index)
        return run and await stores.executions.request_halt(run.key, reason)

    return step


optional_small = st.none() | st.integers(0, 2)

lateness = st.sampled_from([0, 0, 0, 1, -1])

#: what makes a message go on its way
forward_steps = st.one_of(
    _steps(_submit, actors, execution_index, st.integers(), st.none()),
    _steps(_request, actors, worker_index, st.just(3), st.integers(1, 2)),
    _steps(claim_ready, worker_index),
    _steps(run_leased, execution_index),
    _steps(finalize_leased, execution_index, lateness),
    _steps(release_leased, execution_index, lateness, st.booleans()),
    _steps(halt_leased, execution_index, st.sampled_from(HaltReason)),
)

#: everything else, also what makes no sense
any_steps = st.one_of(
    _steps(insert, actors),
    _steps(update, actors, st.booleans(), optional_small, optional_small),
    _steps(set_actor_status, actors, actor_statuses, st.sets(actor_statuses), optional_small),
    _steps(set_state, actors, st.sampled_from([0, {"a": [1]}]), optional_small),
    _steps(delete_actor, actors),
    _steps(_submit, actors, execution_index, st.text(max_size=3), optional_small),
    _steps(_request, actors, worker_index, st.integers(0, 3), st.integers(1, 2)),
    _steps(claim, actors, worker_index, st.integers(1, 2)),
    _steps(mark_running, actors, execution_index, attempts, st.sampled_from("ab")),
    _steps(finalize, actors, execution_index, attempts, st.integers(0, 3)),
    _steps(release, actors, execution_index, attempts, st.booleans()),
    _steps(purge, actors),
    _steps(request_halt, actors, execution_index, st.sampled_from(HaltReason)),
    _steps(set_worker_status, actors, worker_index, worker_statuses, st.sets(worker_statuses)),
    _steps(retire_idle, actors, worker_index),
    _steps(leave, actors, worker_index),
    _steps(touch, actors, st.lists(worker_index), seconds),
    _steps(delete_worker, actors, worker_index),
    _steps(
        _append, actors, execution_index, st.integers(0, 4), st.binary(max_size=4),
        st.none() | seconds,
    ),
    _steps(expire_logs, seconds, st.integers(1, 3)),
    _steps(clear_log, actors, execution_index),
    _steps(
        push, actors, execution_index, st.integers(0, 3),
        st.lists(st.binary(max_size=2), max_size=3), seconds,
    ),
    _steps(clear_results, actors, execution_index),
    _steps(pop, actors, execution_index, seconds),
    _steps(expire_results, seconds, st.integers(1, 3)),
    _steps(acquire, st.sampled_from(["one", "two"]), seconds),
    _steps(heartbeat, st.integers(1, 3), seconds),
    _steps(release_place, st.integers(1, 3)),
)  # fmt: skip


async def _view(stores: Stores) -> dict[str, Any]:
    """Everything that can be seen from outside."""
    return {
        "actors": await stores.actors.list_actors(),
        "workers": await stores.workers.list_workers(),
        "backlog": dict(await stores.mailbox.backlog()),
        "leased": await stores.executions.list_leased(),
        "counters": await stores.executions.counters(),
        "usage": await stores.usage.totals(),
        "days": await stores.usage.list_days(limit=9),
        "counts": await stores.usage.count_workers(),
        "deepest": list((await stores.usage.deepest(9)).items()),
        "reports": await stores.usage.list_actors(),
        **{
            f"{actor.id}.{what}": await see(actor)
            for actor in ACTORS
            for what, see in (
                ("executions", lambda actor: stores.executions.list_executions(actor.key)),
                ("totals", lambda actor: stores.executions.totals(actor.key)),
                ("queued", lambda actor: stores.mailbox.count(actor.key)),
                ("pool", lambda actor: stores.workers.list_workers(actor.key)),
                ("log", lambda actor: stores.logs.read(_execution(actor, 0).key, 1)),
            )
        },
    }


@dataclass
class Watch:
    """Facts of a run that no later step may undo."""

    ended: dict[Any, Any] = field(default_factory=dict)

    def check(self, view: dict[str, Any]) -> None:
        executions = [each for actor in ACTORS for each in view[f"{actor.id}.executions"]]
        found = {each.key: each for each in executions}
        for key, final in self.ended.items():
            assert found[key] == final, "a final execution changed"
        self.ended = {key: each for key, each in found.items() if each.status in FINAL}
        for execution in executions:
            assert (execution.outcome is not None) == (execution.status in FINAL)
        counters = view["counters"]
        assert counters.accepted == len(executions)
        assert counters.final == len(self.ended)


#: two of three forward, so that runs get somewhere
steps = st.integers(0, 2).flatmap(lambda n: forward_steps if n else any_steps)

OPENING: list[Step] = [
    *(insert(actor) for actor in ACTORS),
    *(_request(actor, index, 3, 1) for actor in ACTORS for index in range(2)),
    *(_submit(actor, index, index, None) for actor in ACTORS for index in range(3)),
]


@settings(max_examples=80, deadline=None)
@given(script=st.lists(steps, min_size=15, max_size=60))
def test_all_stores_answer_alike(script: list[NamedStep]) -> None:
    asyncio.run(compare(OPENING, script, _view, Watch().check))
