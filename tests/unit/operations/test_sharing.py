"""Aliases, nonces, permissions."""

import asyncio
import dataclasses

import pytest

from abaco.config import Settings
from abaco.domain.caller import ADMIN_ROLE, ALL_ROLE, EVERYONE_ROLE
from abaco.domain.nonce import NONCE_BYTES
from abaco.domain.permission import Level
from abaco.errors import (
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
    UnauthenticatedError,
)
from abaco.operations import actors, aliases, nonces, permissions
from abaco.operations.access import Right, Scope
from abaco.operations.definition import ActorDraft
from abaco.operations.nonces import NonceDraft
from tests.unit.operations.conftest import a_caller

READ = Right(scope=Scope.ACTOR, level=Level.READ)
EXECUTE = Right(scope=Scope.ACTOR, level=Level.EXECUTE)
UPDATE = Right(scope=Scope.ACTOR, level=Level.UPDATE)


@pytest.fixture
def actor(run, services, jane):
    return run(actors.register(services, jane, ActorDraft(image="busybox")))


@pytest.fixture
def other(run, services, joe):
    return run(actors.register(services, joe, ActorDraft(image="busybox")))


@pytest.fixture
def alias(run, services, jane, actor):
    return run(aliases.create(services, jane, "hello", actor.id))


def field_of(run, awaitable):
    with pytest.raises(InvalidInputError) as caught:
        run(awaitable)
    return caught.value.field


class TestAliases:
    def test_what_is_stored(self, run, services, jane, actor, alias):
        assert run(services.stores.aliases.get(alias.key)) == alias
        assert (alias.owner, alias.actor, alias.api_server) == ("jane", actor.key, jane.api_server)
        assert run(permissions.levels(services, alias.shared)) == {"jane": Level.UPDATE}

    def test_what_is_missing_or_wrong(self, run, services, jane, actor):
        assert field_of(run, aliases.create(services, jane, None, actor.id)) == "alias"
        assert field_of(run, aliases.create(services, jane, "nonces", actor.id)) == "alias"
        assert field_of(run, aliases.create(services, jane, actor.id, actor.id)) == "alias"
        assert field_of(run, aliases.create(services, jane, "hello", None)) == "actor_id"

    @pytest.mark.parametrize("actor_id", ["", "nope", "x" * 10_000])
    def test_no_such_actor(self, run, services, jane, admin, actor_id):
        for caller in (jane, admin):
            with pytest.raises(NotFoundError):
                run(aliases.create(services, caller, "hello", actor_id))

    def test_twice(self, run, services, jane, actor, alias):
        with pytest.raises(ConflictError, match="already exists"):
            run(aliases.create(services, jane, "hello", actor.id))

    def test_in_two_tenants(self, run, services, stranger, alias):
        foreign = run(actors.register(services, stranger, ActorDraft(image="b")))
        assert run(aliases.create(services, stranger, "hello", foreign.id)).tenant == "OTHER"

    def test_one_of_many_at_once(self, run, services, jane, actor):
        async def race():
            wanted = [aliases.create(services, jane, "hello", actor.id) for _ in range(8)]
            return await asyncio.gather(*wanted, return_exceptions=True)

        results = run(race())
        assert sum(isinstance(result, ConflictError) for result in results) == 7

    @pytest.mark.parametrize("level", [Level.NONE, Level.READ, Level.EXECUTE])
    def test_only_who_may_update_the_actor(self, run, services, joe, actor, alias, level):
        for key in (actor.key.shared, alias.shared):
            run(services.stores.permissions.grant(key, "joe", level))
        words = "ou do not have UPDATE access to the actor you want to associate with this alias"
        with pytest.raises(ForbiddenError, match=words):
            run(aliases.create(services, joe, "mine", actor.id))
        with pytest.raises(ForbiddenError, match=words):
            run(aliases.repoint(services, joe, alias, actor.id))

    def test_administrators_may(self, run, services, admin, actor, alias, other):
        assert run(aliases.create(services, admin, "mine", actor.id)).owner == "root"
        repointed = run(aliases.repoint(services, admin, alias, other.id))
        assert (repointed.actor_id, repointed.owner) == (other.id, "jane")
        # who changes somebody else's alias may do so from now on
        levels = run(permissions.levels(services, alias.shared))
        assert levels == {"jane": Level.UPDATE, "root": Level.UPDATE}

    @pytest.mark.parametrize("repoints", [True, False])
    def test_who_loses_a_level_meanwhile_does_not_get_it_back(
        self, run, services, joe, actor, alias, repoints
    ):
        """Requests that are under way when somebody is put out must not bring them back in."""
        grant, key = services.stores.permissions.grant, (alias if repoints else actor.key).shared
        for each in (actor.key.shared, alias.shared):
            run(grant(each, "joe", Level.UPDATE))
        # what the handler was given before
        run(grant(key, "joe", Level.NONE))
        if repoints:
            run(aliases.repoint(services, joe, alias, actor.id))
        else:
            run(actors.update(services, joe, actor, ActorDraft(image="busybox")))
        assert run(permissions.levels(services, key))["joe"] is Level.NONE

    def test_repointing_gives_owners_nothing_new(self, run, services, jane, actor, alias):
        run(services.stores.permissions.grant(alias.shared, "joe", Level.UPDATE))
        run(services.stores.permissions.grant(alias.shared, "jane", Level.READ))
        run(aliases.repoint(services, jane, alias, actor.id))
        levels = run(permissions.levels(services, alias.shared))
        assert levels == {"jane": Level.READ, "joe": Level.UPDATE}

    def test_the_list(self, run, services, jane, joe, admin, stranger, actor, alias, other):
        theirs = run(aliases.create(services, joe, "theirs", other.id))
        assert run(aliases.list_visible(services, jane)) == [alias]
        assert run(aliases.list_visible(services, joe)) == [theirs]
        assert run(aliases.list_visible(services, admin)) == [alias, theirs]
        assert run(aliases.list_visible(services, stranger)) == []
        run(services.stores.permissions.grant(theirs.shared, "jane", Level.READ))
        assert run(aliases.list_visible(services, jane)) == [alias, theirs]

    def test_deleting_takes_everything_along(self, run, services, jane, alias):
        nonce = run(nonces.create(services, jane, alias.shared, NonceDraft()))
        run(aliases.delete(services, alias))
        assert run(permissions.levels(services, alias.shared)) == {}
        with pytest.raises(NotFoundError):
            run(services.stores.nonces.get(nonce.id))
        with pytest.raises(NotFoundError):
            run(aliases.delete(services, alias))


class TestPermissions:
    def test_grant(self, run, services, jane, actor):
        key = actor.key.shared
        granted = run(permissions.grant(services, jane, key, "a.$b", "READ"))
        assert granted == {"jane": Level.UPDATE, "a.$b": Level.READ}
        assert run(permissions.levels(services, key)) == granted
        assert run(permissions.grant(services, jane, key, "a.$b", "NONE"))["a.$b"] is Level.NONE

    def test_somebody_must_be_left(self, run, services, jane, actor):
        for level in ("NONE", "READ", "EXECUTE"):
            with pytest.raises(ConflictError):
                run(permissions.grant(services, jane, actor.key.shared, "jane", level))
        assert run(permissions.levels(services, actor.key.shared)) == {"jane": Level.UPDATE}

    @pytest.mark.parametrize(
        ("user", "level", "field"),
        [
            (None, "READ", "user"),
            ("", "READ", "user"),
            ("joe", None, "level"),
            ("joe", "WRITE", "level"),
        ],
    )
    def test_what_is_missing_or_wrong(self, run, services, jane, actor, user, level, field):
        assert (
            field_of(run, permissions.grant(services, jane, actor.key.shared, user, level)) == field
        )


class TestNonces:
    def test_what_is_stored(self, run, services, jane, actor):
        draft = NonceDraft(level="READ", max_uses=3, description="for the poster")
        nonce = run(nonces.create(services, jane, actor.key.shared, draft))
        assert run(services.stores.nonces.get(nonce.id)) == nonce
        tenant, _, rest = nonce.id.rpartition("_")
        assert (tenant, len(rest)) == ("DEV", 2 * NONCE_BYTES)
        assert NONCE_BYTES * 8 >= 128
        assert (nonce.owner, nonce.roles, nonce.level) == ("jane", (EVERYONE_ROLE,), Level.READ)
        assert (nonce.max_uses, nonce.remaining_uses, nonce.current_uses) == (3, 3, 0)
        assert nonce.last_use_time is None

    def test_no_two_are_alike(self, run, services, jane, actor):
        made = [run(nonces.create(services, jane, actor.key.shared, NonceDraft())) for _ in "123"]
        assert len({nonce.id for nonce in made}) == 3
        assert run(nonces.list_nonces(services, actor.key.shared)) == made

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"level": "WRITE"}, "level"),
            ({"max_uses": 0}, "max_uses"),
            ({"max_uses": -2}, "max_uses"),
        ],
    )
    def test_what_is_wrong(self, run, services, jane, actor, changes, field):
        creating = nonces.create(services, jane, actor.key.shared, NonceDraft(**changes))
        assert field_of(run, creating) == field

    def test_one_of_an_alias_updates_nothing(self, run, services, jane, alias):
        creating = nonces.create(services, jane, alias.shared, NonceDraft(level="UPDATE"))
        assert field_of(run, creating) == "level"

    @pytest.mark.parametrize("wanted", Level)
    @pytest.mark.parametrize("held", Level)
    def test_none_above_the_one_that_makes_it(self, run, services, jane, actor, held, wanted):
        holder = dataclasses.replace(jane, nonce_level=held)
        creating = nonces.create(services, holder, actor.key.shared, NonceDraft(level=wanted.name))
        if wanted <= held:
            assert run(creating).level is wanted
        else:
            with pytest.raises(ForbiddenError, match="above its own level"):
                run(creating)

    def test_each_belongs_to_one_target(self, run, services, jane, actor, alias):
        of_actor = run(nonces.create(services, jane, actor.key.shared, NonceDraft()))
        of_alias = run(nonces.create(services, jane, alias.shared, NonceDraft()))
        for operation in (nonces.get, nonces.delete):
            for target, nonce in ((alias.shared, of_actor), (actor.key.shared, of_alias)):
                with pytest.raises(NotFoundError):
                    run(operation(services, target, nonce.id))
        assert run(nonces.get(services, actor.key.shared, of_actor.id)) == of_actor
        run(nonces.delete(services, alias.shared, of_alias.id))
        assert run(nonces.list_nonces(services, alias.shared)) == []

    @pytest.mark.parametrize("name", ["", "nope", "DEV_" + "0" * 48, "x" * 10_000])
    def test_unknown_ones_are_not_repeated(self, run, services, jane, actor, name):
        for operation in (nonces.get, nonces.delete):
            with pytest.raises(NotFoundError) as caught:
                run(operation(services, actor.key.shared, name))
            assert caught.value.message == "there is no such nonce"

    def test_one_that_is_deleted_at_that_moment(self, run, services, jane, actor):
        nonce = run(nonces.create(services, jane, actor.key.shared, NonceDraft()))

        async def race():
            deleting = [nonces.delete(services, actor.key.shared, nonce.id) for _ in range(2)]
            return await asyncio.gather(*deleting, return_exceptions=True)

        class Slow:
            def __init__(self, store):
                self._store = store

            async def get(self, nonce_id):
                found = await self._store.get(nonce_id)
                await asyncio.sleep(0)
                return found

            async def delete(self, nonce_id):
                await self._store.delete(nonce_id)

        stores = dataclasses.replace(services.stores, nonces=Slow(services.stores.nonces))
        services = dataclasses.replace(services, stores=stores)
        first, second = run(race())
        assert first is None
        assert isinstance(second, NotFoundError)
        assert nonce.id not in second.message


class TestRedeem:
    @pytest.fixture
    def make(self, run, services, actor):
        def make(caller, **draft):
            return run(nonces.create(services, caller, actor.key.shared, NonceDraft(**draft)))

        return make

    @pytest.fixture
    def redeem(self, run, services, actor):
        def redeem(nonce_id, right=READ, name=actor.id, *, is_reading=True):
            return run(nonces.redeem(services, nonce_id, right, name, is_reading=is_reading))

        return redeem

    @pytest.fixture
    def settings(self):
        return Settings(web={"DEV_api_server": "https://dev.example.org/"})

    def test_whom_it_makes_the_caller(self, make, redeem, admin):
        caller = redeem(make(admin, level="UPDATE").id)
        assert (caller.tenant, caller.user, caller.roles) == ("DEV", "root", {ADMIN_ROLE})
        assert (caller.jwt_header, caller.nonce_level) == (None, Level.UPDATE)
        assert caller.api_server == "https://dev.example.org"

    def test_each_counts_once(self, run, services, make, redeem, jane):
        nonce = make(jane, max_uses=2)
        for uses in (1, 2):
            redeem(nonce.id)
            stored = run(services.stores.nonces.get(nonce.id))
            assert (stored.current_uses, stored.remaining_uses) == (uses, 2 - uses)
            assert stored.last_use_time is not None
        with pytest.raises(ForbiddenError):
            redeem(nonce.id)

    def test_the_level(self, run, services, make, redeem, jane):
        nonce = make(jane, level="READ", max_uses=1)
        for right, is_reading in ((EXECUTE, False), (UPDATE, False), (UPDATE, True)):
            with pytest.raises(ForbiddenError):
                redeem(nonce.id, right, is_reading=is_reading)
        assert run(services.stores.nonces.get(nonce.id)).remaining_uses == 1
        assert redeem(nonce.id).user == "jane"

    def test_nothing_else_than_its_target(self, run, services, make, redeem, jane, other, alias):
        of_actor = make(jane)
        of_alias = run(nonces.create(services, jane, alias.shared, NonceDraft()))
        for nonce, name in (
            (of_actor, other.id),
            (of_actor, "hello"),
            (of_actor, "nope"),
            (of_alias, alias.actor_id),
            (of_alias, "other"),
        ):
            with pytest.raises(UnauthenticatedError):
                redeem(nonce.id, name=name)
        for scope in (Scope.ACTOR, Scope.ALIAS):
            assert redeem(of_alias.id, Right(scope=scope, level=Level.READ), "hello").user == "jane"

    def test_nothing_without_a_target(self, make, redeem, jane):
        with pytest.raises(ForbiddenError, match="names none"):
            redeem(make(jane).id, Right(), "")

    @pytest.mark.parametrize("nonce_id", ["x", "_x", "DEV_x", "OTHER_x", "DEV_" + "x" * 1000])
    def test_unknown_ones(self, redeem, nonce_id):
        with pytest.raises(UnauthenticatedError) as caught:
            redeem(nonce_id)
        assert nonce_id not in caught.value.message

    def test_what_an_open_server_gave_ends_with_it(self, run, services, jane, make, redeem, actor):
        nonce = make(a_caller("anonymous", ALL_ROLE))
        assert redeem(nonce.id).roles == {ALL_ROLE}
        closed = services.settings.web.model_copy(update={"access_control": "jwt"})
        settings = services.settings.model_copy(update={"web": closed})
        services = dataclasses.replace(services, settings=settings)
        caller = run(nonces.redeem(services, nonce.id, READ, actor.id, is_reading=True))
        assert caller.roles == frozenset()
