"""Register, list, update and delete actors."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace

from abaco.domain.actor import Actor, ActorDefinition, ActorKey, ActorStatus
from abaco.domain.caller import Caller
from abaco.domain.execution import (
    Execution,
    ExecutionKey,
    ExecutionStatus,
    HaltReason,
    Outcome,
)
from abaco.domain.ids import ActorId
from abaco.domain.permission import Level, ObjectKind
from abaco.errors import ConflictError, NotFoundError
from abaco.metrics import EXECUTIONS
from abaco.operations.cron import decide
from abaco.operations.definition import ActorDraft, define
from abaco.operations.events import check_link, webhook_policy
from abaco.operations.host_access import find_host_access
from abaco.operations.services import Services
from abaco.operations.uploads import forget
from abaco.operations.workers import request_worker
from abaco.ports.notices import Subscription, Topic

#: how long ``delete`` waits for the last container. Source: api of the older Abaco
DELETE_WAIT_S = 20.0

#: how often an update is tried again when another update came between
UPDATE_ATTEMPTS = 5

#: actors given out at once: few, because each may carry a large state
_PAGE = 100


async def register(services: Services, caller: Caller, draft: ActorDraft) -> Actor:
    """Register an actor of the caller and, if so configured, ask for its first worker.

    Raises:
        InvalidInputError: Names the field.
        IdentityUnavailableError: Who the caller is on the host cannot be told now.

    """
    now = services.clock.now()
    cron = decide(draft, None, now)
    definition = await _define(services, caller, draft)
    actor = Actor(
        tenant=caller.tenant,
        id=ActorId(services.ids.new_id()),
        owner=caller.user,
        api_server=caller.api_server,
        definition=definition,
        create_time=now,
        last_update_time=now,
        cron=cron.apply(None) if cron else None,
        host=await find_host_access(services, caller.tenant, caller.user, definition),
    )
    await services.stores.actors.insert(actor)
    services.notices.publish(Topic.ACTOR, actor.key)
    if cron is not None:
        services.notices.publish(Topic.CRON, actor.key)
    is_served = actor.definition.queue in services.settings.spawner.host_queues
    if services.settings.workers.init_count > 0 and is_served:
        await request_worker(services, actor, limit=1)
        services.notices.publish(Topic.POOL, actor.key)
    return actor


async def iter_visible(services: Services, caller: Caller) -> AsyncGenerator[list[Actor], None]:
    """Yield the actors shared with the caller, own ones included, in pages, oldest first.

    The admin role adds none.
    """
    names = await services.stores.permissions.visible(ObjectKind.ACTOR, caller.tenant, caller.user)
    keys = [ActorKey(caller.tenant, ActorId(name)) for name in names]
    found = await services.stores.actors.get_many(keys)
    for first in range(0, max(1, len(found)), _PAGE):
        yield found[first : first + _PAGE]


async def update(
    services: Services, caller: Caller, present: Actor, draft: ActorDraft, *, force: bool = False
) -> Actor:
    """Replace an actor's definition.

    Another image, or ``force``, begins a new revision; otherwise status and revision stay. With
    ``force`` its image is asked for at its registry, though one of that name may be on the host.
    Name, owner and state are kept; stateless and the schedule when the draft does not say.
    Somebody else than the owner gets a level of their own by it, unless they have one: it may
    have been lowered while this went on. What the containers get of the host is found anew, for
    the owner.

    Raises:
        InvalidInputError: Names the field.
        IdentityUnavailableError: Who the owner is on the host cannot be told now.
        NotFoundError: It is gone.
        ConflictError: It is being deleted.

    """
    now = services.clock.now()
    for _ in range(UPDATE_ATTEMPTS):
        cron = decide(draft, present.cron, now)
        definition = await _define(services, caller, draft, present.definition)
        try:
            actor = await services.stores.actors.update(
                present.key,
                definition,
                new_revision=force or definition.image != present.definition.image,
                now=now,
                expect_revision=present.revision,
                cron=cron,
                host=await find_host_access(services, present.tenant, present.owner, definition),
                pull_image=force,
            )
        except ConflictError:
            current = await services.stores.actors.get(present.key)
            if current.revision == present.revision:
                raise
            # Another update came between: decide again what is new.
            present = current
            continue
        if caller.user != actor.owner:
            await services.stores.permissions.grant(
                actor.key.shared, caller.user, Level.UPDATE, only_new=True
            )
        services.notices.publish(Topic.ACTOR, actor.key)
        if cron is not None:
            services.notices.publish(Topic.CRON, actor.key)
        return actor
    raise ConflictError("the actor is being updated by others all the time; try again")


async def delete(services: Services, actor: Actor, *, wait_s: float = DELETE_WAIT_S) -> bool:
    """Shut an actor down and wait for it to vanish.

    Queued messages are given up, running containers are halted. Whoever retires workers
    removes the record once the last one is gone.

    Returns:
        Whether it is gone already; if not, the clean-up goes on by itself.

    Raises:
        NotFoundError: It is gone already.

    """
    # Executions that start only now must be halted too, hence the whole topic.
    with services.notices.subscribe(Topic.ACTOR, Topic.EXECUTION) as subscription:
        await services.stores.actors.set_status(
            actor.key,
            ActorStatus.SHUTTING_DOWN,
            "",
            expect=set(ActorStatus) - {ActorStatus.SHUTTING_DOWN},
        )
        services.notices.publish(Topic.ACTOR, actor.key)
        outcome = Outcome(
            status=ExecutionStatus.ERROR,
            finish_time=services.clock.now(),
            error=str(HaltReason.ACTOR_DELETED),
        )
        purged = await services.stores.mailbox.purge(actor.key, outcome)
        EXECUTIONS.labels(outcome.status.value, outcome.error).inc(len(purged))
        await forget(services, purged)
        for execution_id in purged:
            key = ExecutionKey(actor.tenant, actor.id, execution_id)
            services.notices.publish(Topic.EXECUTION, key)
        return await _wait_gone(services, actor.key, subscription, wait_s)


async def _wait_gone(
    services: Services, key: ActorKey, subscription: Subscription, wait_s: float
) -> bool:
    deadline = services.clock.monotonic() + wait_s
    while True:
        try:
            await services.stores.actors.get(key)
        except NotFoundError:
            return True
        for execution in await services.stores.executions.list_leased():
            if execution.key.actor == key:
                await _halt_if_running(services, execution)
        if not await _next_about(services, key, subscription, deadline):
            return False


async def _next_about(
    services: Services, key: ActorKey, subscription: Subscription, deadline: float
) -> bool:
    """Wait for a notice about the actor or one of its executions; False on timeout."""
    while True:
        left_s = deadline - services.clock.monotonic()
        if left_s <= 0 or not await subscription.wait(left_s):
            return False
        for noticed in subscription.take():
            if (noticed.actor if isinstance(noticed, ExecutionKey) else noticed) == key:
                return True


async def _halt_if_running(services: Services, execution: Execution) -> None:
    if execution.status is not ExecutionStatus.RUNNING or execution.halt_requested is not None:
        return
    try:
        await services.stores.executions.request_halt(execution.key, HaltReason.ACTOR_DELETED)
    except ConflictError:
        # It ended between the two calls, which is all that is wanted.
        return
    services.notices.publish(Topic.HALT, execution.key)


async def _define(
    services: Services,
    caller: Caller,
    draft: ActorDraft,
    previous: ActorDefinition | None = None,
) -> ActorDefinition:
    """Make the definition, its secret sealed, and check what a draft alone does not tell."""
    definition = define(
        draft,
        caller,
        default_token=str(services.settings.web.for_tenant("default_token", caller.tenant)),
        queues=services.settings.web.all_queues,
        run_time_cap_s=services.settings.workers.max_run_time,
        previous=previous,
    )
    await check_link(services, caller, definition.link)
    if definition.webhook:
        webhook_policy(services).check(definition.webhook)
    secret = draft.webhook_secret
    return replace(definition, webhook_secret=services.vault.encrypt(secret) if secret else secret)
