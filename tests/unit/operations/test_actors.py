"""Register, read, update and delete actors."""

import asyncio
import dataclasses

import pytest

from abaco.config import Settings
from abaco.domain.actor import ActorStatus
from abaco.domain.execution import ExecutionStatus, HaltReason
from abaco.domain.permission import WORLD, Level
from abaco.domain.worker import WorkerStatus
from abaco.errors import ConflictError, InvalidInputError, NotFoundError
from abaco.operations import actors, executions, messages
from abaco.operations.definition import ActorDraft
from abaco.operations.messages import Post
from abaco.ports.notices import Topic

DRAFT = ActorDraft(image="busybox")
HELLO = Post(body="hello", content_type="str", environment={})


def noticed(services, *topics):
    return services.notices.subscribe(*topics)


async def visible(services, caller):
    """Read the caller's whole list."""
    return [actor async for page in actors.iter_visible(services, caller) for actor in page]


class TestRegister:
    def test_what_is_stored(self, run, services, jane):
        actor = run(actors.register(services, jane, ActorDraft(image="busybox", name="demo")))
        assert run(services.stores.actors.get(actor.key)) == actor
        assert actor.owner == "jane"
        assert actor.tenant == jane.tenant
        assert actor.api_server == jane.api_server
        assert actor.status is ActorStatus.SUBMITTED
        assert actor.definition.name == "demo"
        assert (actor.revision, actor.state) == (1, {})
        assert services.ids.is_id(actor.id)

    def test_asks_for_the_first_worker_and_tells(self, run, services, jane):
        with noticed(services, Topic.ACTOR, Topic.POOL) as subscription:
            actor = run(actors.register(services, jane, DRAFT))
            assert subscription.take() == [actor.key]
        (worker,) = run(services.stores.workers.list_workers(actor.key))
        assert worker.status is WorkerStatus.REQUESTED
        assert (worker.image, worker.revision) == ("busybox", 1)
        assert worker.location == "unix:///var/run/docker.sock"

    def test_no_worker_when_none_are_wanted(self, run, services, jane):
        without = Settings(workers={"init_count": 0})
        services = _with_settings(services, without)
        actor = run(actors.register(services, jane, DRAFT))
        assert run(services.stores.workers.list_workers(actor.key)) == []

    def test_one_worker_however_many_are_wanted(self, run, services, jane):
        services = _with_settings(services, Settings(workers={"init_count": 5}))
        actor = run(actors.register(services, jane, ActorDraft(image="b", stateless=False)))
        assert len(run(services.stores.workers.list_workers(actor.key))) == 1

    def test_the_token_switch_is_the_tenants(self, run, services, jane):
        services = _with_settings(services, Settings(web={"DEV_default_token": "true"}))
        assert run(actors.register(services, jane, DRAFT)).definition.token == "true"

    def test_nothing_is_stored_for_a_bad_draft(self, run, services, jane):
        with pytest.raises(InvalidInputError):
            run(actors.register(services, jane, ActorDraft()))
        assert run(services.stores.actors.list_actors()) == []


def stored(run, services, actor):
    return run(services.stores.actors.get(actor.key))


class TestList:
    def test_what_is_shared_with_the_caller_even_for_administrators(
        self, run, services, jane, joe, admin, stranger
    ):
        first = run(actors.register(services, jane, DRAFT))
        theirs = run(actors.register(services, joe, DRAFT))
        second = run(actors.register(services, jane, DRAFT))
        assert run(visible(services, jane)) == [first, second]
        assert run(visible(services, admin)) == []
        assert run(visible(services, stranger)) == []
        grant = services.stores.permissions.grant
        run(grant(theirs.key.shared, "jane", Level.READ))
        run(grant(first.key.shared, WORLD, Level.EXECUTE))
        assert run(visible(services, jane)) == [first, theirs, second]
        assert run(visible(services, admin)) == [first]
        assert run(visible(services, joe)) == [first, theirs]
        run(grant(theirs.key.shared, "jane", Level.NONE))
        assert run(visible(services, jane)) == [first, second]

    def test_a_list_longer_than_a_page(self, run, services, jane, monkeypatch):
        monkeypatch.setattr(actors, "_PAGE", 2)
        registered = [run(actors.register(services, jane, DRAFT)) for _ in range(5)]
        listed = run(visible(services, jane))
        assert {actor.id for actor in listed} == {actor.id for actor in registered}
        assert len(listed) == 5


class TestUpdate:
    def test_a_new_image_begins_a_revision(self, run, services, jane, player):
        actor = run(actors.register(services, jane, ActorDraft(image="busybox", name="demo")))
        run(player.raise_workers(actor.key))
        with noticed(services, Topic.ACTOR) as subscription:
            updated = run(actors.update(services, jane, actor, ActorDraft(image="other")))
            assert subscription.take() == [actor.key]
        assert (updated.revision, updated.status) == (2, ActorStatus.SUBMITTED)
        assert (updated.definition.image, updated.definition.name) == ("other", "demo")
        assert updated.last_update_time > actor.last_update_time
        assert updated.create_time == actor.create_time

    def test_the_same_image_keeps_revision_and_status(self, run, services, jane, player):
        actor = run(actors.register(services, jane, DRAFT))
        run(player.raise_workers(actor.key))
        draft = ActorDraft(image="busybox", description="now with words")
        updated = run(actors.update(services, jane, actor, draft))
        assert (updated.revision, updated.status) == (1, ActorStatus.READY)
        assert updated.definition.description == "now with words"
        assert updated.status_message == ""

    def test_force(self, run, services, jane):
        actor = run(actors.register(services, jane, DRAFT))
        updated = run(actors.update(services, jane, actor, DRAFT, force=True))
        assert updated.revision == 2

    def test_the_owner_stays_when_an_administrator_updates(self, run, services, jane, admin):
        actor = run(actors.register(services, jane, DRAFT))
        assert run(actors.update(services, admin, actor, DRAFT)).owner == "jane"

    def test_state_stays(self, run, services, jane):
        actor = run(actors.register(services, jane, ActorDraft(image="b", stateless=False)))
        run(services.stores.actors.set_state(actor.key, {"n": 1}))
        updated = run(actors.update(services, jane, actor, ActorDraft(image="other")))
        assert updated.state == {"n": 1}

    def test_not_while_it_is_being_deleted(self, run, services, jane):
        actor = run(actors.register(services, jane, DRAFT))
        run(actors.delete(services, actor, wait_s=0))
        with pytest.raises(ConflictError):
            run(actors.update(services, jane, actor, DRAFT))

    def test_updates_at_once_do_not_lose_a_revision(self, run, services, jane):
        actor = run(actors.register(services, jane, DRAFT))

        async def race():
            return await asyncio.gather(
                actors.update(services, jane, actor, ActorDraft(image="second")),
                actors.update(services, jane, actor, DRAFT),
                actors.update(services, jane, actor, DRAFT, force=True),
            )

        seen = {(updated.revision, updated.definition.image) for updated in run(race())}
        # no revision was ever seen with two images
        assert len({revision for revision, _ in seen}) == len(seen)

    def test_a_different_updater_gets_a_level_of_their_own(self, run, services, jane, joe, admin):
        actor = run(actors.register(services, jane, DRAFT))
        for updater in (jane, joe, admin):
            assert run(actors.update(services, updater, actor, DRAFT)).owner == "jane"
        levels = run(services.stores.permissions.levels(actor.key.shared))
        assert levels == dict.fromkeys(("jane", "joe", "root"), Level.UPDATE)


class TestDelete:
    def test_waits_until_it_is_gone(self, run, services, jane, player):
        actor = run(actors.register(services, jane, DRAFT))

        async def both():
            return await asyncio.gather(actors.delete(services, actor), player.retire(actor.key))

        assert run(both())[0] is True
        with pytest.raises(NotFoundError):
            stored(run, services, actor)

    def test_says_when_clean_up_goes_on(self, run, services, jane):
        actor = run(actors.register(services, jane, DRAFT))
        assert run(actors.delete(services, actor, wait_s=0.01)) is False
        assert stored(run, services, actor).status is ActorStatus.SHUTTING_DOWN
        # and once more, which is no error
        assert run(actors.delete(services, actor, wait_s=0)) is False

    def test_queued_messages_are_given_up(self, run, services, jane):
        actor = run(actors.register(services, jane, DRAFT))
        posted = run(messages.post(services, jane, actor, HELLO))
        run(actors.delete(services, actor, wait_s=0))
        execution = run(executions.get(services, actor, posted.execution.id))
        assert execution.status is ExecutionStatus.ERROR
        assert execution.outcome.error == "actor_deleted"
        with pytest.raises(ConflictError):
            run(messages.post(services, jane, actor, HELLO))

    def test_a_running_container_is_halted(self, run, services, jane, player):
        actor = run(actors.register(services, jane, DRAFT))
        run(messages.post(services, jane, actor, HELLO))
        claim = run(player.start(actor.key))

        async def worker():
            key = claim.execution.key
            with services.notices.subscribe(Topic.HALT, key=key) as halt:
                while (
                    execution := await services.stores.executions.get(key)
                ).halt_requested is None:
                    assert await halt.wait(5)
            await player.end(claim, exit_code=137)
            return execution.halt_requested

        async def all_of_it():
            return await asyncio.gather(
                actors.delete(services, actor), worker(), player.retire(actor.key)
            )

        is_gone, reason, _ = run(all_of_it())
        assert (is_gone, reason) == (True, HaltReason.ACTOR_DELETED)
        final = run(services.stores.executions.get(claim.execution.key))
        assert final.status is ExecutionStatus.COMPLETE

    def test_a_container_that_starts_only_now_is_halted_too(self, run, services, jane, player):
        actor = run(actors.register(services, jane, DRAFT))
        run(messages.post(services, jane, actor, HELLO))
        claim = run(player.claim(actor.key))
        key, attempt = claim.execution.key, claim.execution.attempt

        async def late_start():
            with services.notices.subscribe(Topic.HALT, key=key) as halt:
                now = services.clock.now()
                assert await services.stores.mailbox.mark_running(key, attempt, "box", now)
                services.notices.publish(Topic.EXECUTION, key)
                assert await halt.wait(5)
            await player.end(claim)

        async def all_of_it():
            deleting = asyncio.ensure_future(actors.delete(services, actor))
            await asyncio.sleep(0.01)
            assert not deleting.done()
            retiring = asyncio.ensure_future(player.retire(actor.key))
            await late_start()
            await retiring
            return await deleting

        assert run(all_of_it()) is True

    def test_notices_about_others_do_not_end_the_wait(self, run, services, jane):
        actor = run(actors.register(services, jane, DRAFT))
        other = run(actors.register(services, jane, DRAFT))

        async def noisy():
            deleting = asyncio.ensure_future(actors.delete(services, actor, wait_s=0.05))
            while not deleting.done():
                services.notices.publish(Topic.ACTOR, other.key)
                await asyncio.sleep(0.005)
            return await deleting

        assert run(noisy()) is False


class HesitatingStore:
    """A store that lets others go first, before every call."""

    def __init__(self, store):
        self._store = store

    def __getattr__(self, name):
        async def call(*args, **options):
            await asyncio.sleep(0)
            return await getattr(self._store, name)(*args, **options)

        return call


class OvertakenActors(HesitatingStore):
    """Before each update, somebody else's update comes first."""

    def __init__(self, store, now):
        super().__init__(store)
        self._now = now

    async def update(self, key, definition, **options):
        present = await self._store.get(key)
        await self._store.update(key, present.definition, new_revision=True, now=self._now())
        return await self._store.update(key, definition, **options)


class LateExecutions(HesitatingStore):
    """Whatever it lists has ended by the time anybody looks at it."""

    def __init__(self, store, end):
        super().__init__(store)
        self._end = end

    async def list_leased(self):
        leased = await self._store.list_leased()
        if leased:
            await self._end()
        return leased


class TestRaces:
    def test_interleaved_updates_never_show_a_revision_with_two_images(self, run, services, jane):
        services = _with_stores(services, actors=HesitatingStore(services.stores.actors))
        actor = run(actors.register(services, jane, DRAFT))

        async def race():
            drafts = [ActorDraft(image=f"image{n % 3}") for n in range(4)]
            await asyncio.gather(*(actors.update(services, jane, actor, draft) for draft in drafts))
            return await services.stores.actors.get(actor.key)

        last = run(race())
        # each update had its turn, and those that changed the image counted
        assert 2 <= last.revision <= 5

    def test_an_update_that_is_always_overtaken_gives_up(self, run, services, jane):
        overtaken = OvertakenActors(services.stores.actors, services.clock.now)
        actor = run(actors.register(services, jane, DRAFT))
        with pytest.raises(ConflictError, match="try again"):
            run(actors.update(_with_stores(services, actors=overtaken), jane, actor, DRAFT))
        assert stored(run, services, actor).revision == 1 + actors.UPDATE_ATTEMPTS

    def test_deleting_what_ends_at_that_moment(self, run, services, jane, player):
        actor = run(actors.register(services, jane, DRAFT))
        run(messages.post(services, jane, actor, HELLO))
        claim = run(player.start(actor.key))
        late = LateExecutions(services.stores.executions, lambda: player.end(claim))
        services = _with_stores(services, executions=late)
        assert run(actors.delete(services, actor, wait_s=0)) is False
        ended = run(services.stores.executions.get(claim.execution.key))
        assert (ended.status, ended.halt_requested) == (ExecutionStatus.COMPLETE, None)


def _with_stores(services, **stores):
    return dataclasses.replace(services, stores=dataclasses.replace(services.stores, **stores))


def _with_settings(services, settings):
    return dataclasses.replace(services, settings=settings)
