"""Events are given to linked actors only while somebody may."""

from dataclasses import replace

import pytest

from abaco.domain.actor import ActorStatus
from abaco.domain.permission import WORLD, Level
from abaco.operations import actors, aliases
from abaco.operations.definition import ActorDraft
from abaco.operations.events import NOT_ALLOWED, deliver_link


@pytest.fixture
def target(run, services, joe):
    return run(actors.register(services, joe, ActorDraft(image="busybox")))


@pytest.fixture
def grant(run, services):
    return lambda actor, user, level: run(
        services.stores.permissions.grant(actor.key.shared, user, level)
    )


@pytest.fixture
def linked(run, services, jane, target, grant):
    """Register an actor of jane's that tells joe's, which she may execute."""
    grant(target, "jane", Level.EXECUTE)
    return run(actors.register(services, jane, ActorDraft(image="busybox", link=target.id)))


@pytest.fixture
def tell(run, services):
    """Make an event of an actor and deliver it; return why nobody was told."""

    def tell(actor):
        stores = services.stores
        run(stores.actors.set_status(actor.key, ActorStatus.READY, "", expect=set(ActorStatus)))
        event = run(stores.outbox.head(actor.key))
        reason = run(deliver_link(services, event))
        assert run(stores.outbox.head(actor.key)) is None
        return reason

    return tell


def waiting(run, services, actor):
    return run(services.stores.mailbox.count(actor.key))


def test_who_may_execute_is_told(run, services, linked, target, tell):
    assert tell(linked) is None
    assert waiting(run, services, target) == 1


def test_a_full_mailbox_takes_no_more(run, services, linked, target, tell):
    runtime = services.settings.runtime.model_copy(update={"max_mailbox": 1})
    narrow = services.settings.model_copy(update={"runtime": runtime})
    run(
        services.stores.actors.set_status(
            target.key, ActorStatus.ERROR, "", expect=set(ActorStatus)
        )
    )
    assert tell(linked) is None
    stores = services.stores
    run(stores.actors.set_status(linked.key, ActorStatus.ERROR, "", expect=set(ActorStatus)))
    event = run(stores.outbox.head(linked.key))
    reason = run(deliver_link(replace(services, settings=narrow), event))
    assert "wait" in reason
    assert run(stores.outbox.head(linked.key)) is None
    assert waiting(run, services, target) == 1


@pytest.mark.parametrize("level", [Level.NONE, Level.READ])
def test_a_right_that_was_taken_away_ends_the_link(
    run, services, linked, target, grant, tell, level
):
    grant(target, "jane", level)
    assert tell(linked) == NOT_ALLOWED
    assert waiting(run, services, target) == 0


def test_everybodys_right_is_enough(linked, target, grant, tell):
    grant(target, "jane", Level.NONE)
    grant(target, WORLD, Level.EXECUTE)
    assert tell(linked) is None


@pytest.mark.parametrize(("level", "is_told"), [(Level.UPDATE, True), (Level.EXECUTE, False)])
def test_another_who_may_update_will_do(linked, target, grant, tell, level, is_told):
    grant(target, "jane", Level.NONE)
    grant(linked, "joe", level)
    assert (tell(linked) is None) is is_told


def test_what_everybody_may_update_is_told(linked, target, grant, tell):
    grant(target, "jane", Level.NONE)
    grant(linked, WORLD, Level.UPDATE)
    assert tell(linked) is None


def test_an_alias_opens_no_actor(run, services, jane, joe, target, grant, tell):
    mine = run(actors.register(services, jane, ActorDraft(image="busybox")))
    alias = run(aliases.create(services, jane, "sink", mine.id))
    linked = run(actors.register(services, jane, ActorDraft(image="busybox", link="sink")))
    grant(mine, "joe", Level.UPDATE)
    run(services.stores.permissions.grant(alias.shared, "joe", Level.UPDATE))
    run(aliases.repoint(services, joe, alias, target.id))
    assert tell(linked) == NOT_ALLOWED
    assert waiting(run, services, target) == 0


def test_an_actor_that_is_gone_tells_of_its_end(run, services, linked, target):
    stores = services.stores
    run(stores.actors.set_status(linked.key, ActorStatus.READY, "", expect=set(ActorStatus)))
    event = run(stores.outbox.head(linked.key))
    run(stores.actors.delete(linked.key))
    assert run(deliver_link(services, event)) is None
    assert waiting(run, services, target) == 1
