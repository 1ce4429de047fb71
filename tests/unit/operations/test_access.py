"""Who may do what: roles, levels, and what a name in a path stands for."""

import dataclasses

import pytest

from abaco.config import Settings
from abaco.domain.caller import ADMIN_ROLE, ALL_ROLE, EVERYONE_ROLE, LIMITED_ROLE
from abaco.domain.permission import WORLD, Level, ObjectKey, ObjectKind
from abaco.errors import ForbiddenError, NotFoundError
from abaco.operations import access, actors, aliases
from abaco.operations.access import Right, Scope, authorise, target_of
from abaco.operations.definition import ActorDraft
from tests.unit.operations.conftest import a_caller

MEMBER = Right()
READ = Right(scope=Scope.ACTOR, level=Level.READ)
ADMIN = Right(scope=Scope.ACTOR, is_for_admins=True)
ALIAS_READ = Right(scope=Scope.ALIAS, level=Level.READ)
BOTH_UPDATE = Right(scope=Scope.ALIAS, level=Level.UPDATE, is_actor_too=True)


def at(scope, level):
    return Right(scope=scope, level=level)


@pytest.fixture
def settings():
    return Settings(web={"user_role": EVERYONE_ROLE})


@pytest.fixture
def actor(run, services, jane):
    return run(actors.register(services, jane, ActorDraft(image="busybox")))


@pytest.fixture
def alias(run, services, jane, actor):
    return run(aliases.create(services, jane, "hello", actor.id))


@pytest.fixture
def allow(run, services):
    """Give somebody a level."""
    return lambda key, user, level: run(services.stores.permissions.grant(key, user, level))


class TestRoles:
    @pytest.mark.parametrize("right", [MEMBER, READ, ALIAS_READ])
    def test_one_of_ours_is_needed(self, run, services, actor, alias, right):
        nobody = a_caller("jane", "Internal/other")
        name = actor.id if right.scope is Scope.ACTOR else alias.alias
        with pytest.raises(ForbiddenError, match="missing required role"):
            run(authorise(services, nobody, right, name))

    @pytest.mark.parametrize("role", [EVERYONE_ROLE, LIMITED_ROLE, ADMIN_ROLE, ALL_ROLE])
    def test_any_of_ours(self, run, services, role):
        assert run(authorise(services, a_caller("jane", role), MEMBER)) is None

    def test_what_is_for_administrators(self, run, services, jane, privileged, admin, actor):
        for caller in (jane, privileged):
            with pytest.raises(ForbiddenError, match="administrators"):
                run(authorise(services, caller, ADMIN, actor.id))
        assert run(authorise(services, admin, ADMIN, actor.id)) == actor

    def test_roles_are_looked_at_before_anything_is_looked_up(self, run, services, jane):
        with pytest.raises(ForbiddenError):
            run(authorise(services, jane, ADMIN, "nope"))


class TestLevels:
    @pytest.mark.parametrize("needed", [Level.READ, Level.EXECUTE, Level.UPDATE])
    @pytest.mark.parametrize("own", Level)
    @pytest.mark.parametrize("world", [None, *Level])
    def test_on_an_actor(self, run, services, joe, actor, allow, needed, own, world):
        allow(actor.key.shared, "joe", own)
        if world is not None:
            allow(actor.key.shared, WORLD, world)
        right = at(Scope.ACTOR, needed)
        if max(own, world or Level.NONE) >= needed:
            assert run(authorise(services, joe, right, actor.id)) == actor
        else:
            with pytest.raises(ForbiddenError, match=r"^you do not have access to this actor$"):
                run(authorise(services, joe, right, actor.id))

    @pytest.mark.parametrize("needed", [Level.READ, Level.UPDATE])
    @pytest.mark.parametrize("own", Level)
    def test_on_an_alias(self, run, services, joe, alias, allow, needed, own):
        allow(alias.shared, "joe", own)
        right = at(Scope.ALIAS, needed)
        if own >= needed:
            assert run(authorise(services, joe, right, "hello")) == alias
        else:
            with pytest.raises(ForbiddenError, match=r"^you do not have access to this alias$"):
                run(authorise(services, joe, right, "hello"))

    @pytest.mark.parametrize("on_actor", Level)
    @pytest.mark.parametrize("on_alias", Level)
    def test_on_both(self, run, services, joe, actor, alias, allow, on_actor, on_alias):
        allow(alias.shared, "joe", on_alias)
        allow(actor.key.shared, "joe", on_actor)
        if on_actor is on_alias is Level.UPDATE:
            assert run(authorise(services, joe, BOTH_UPDATE, "hello")) == alias
        else:
            with pytest.raises(ForbiddenError, match=r"access to this alias and actor$"):
                run(authorise(services, joe, BOTH_UPDATE, "hello"))

    def test_owners_have_it_by_their_entry_only(self, run, services, jane, actor, allow):
        allow(actor.key.shared, "joe", Level.UPDATE)
        allow(actor.key.shared, "jane", Level.NONE)
        with pytest.raises(ForbiddenError):
            run(authorise(services, jane, READ, actor.id))

    def test_administrators_need_none(self, run, services, admin, actor, alias):
        assert run(authorise(services, admin, at(Scope.ACTOR, Level.UPDATE), actor.id)) == actor
        assert run(authorise(services, admin, BOTH_UPDATE, "hello")) == alias

    def test_but_not_in_another_tenant(self, run, services, stranger, actor, alias):
        for right, name in ((READ, actor.id), (READ, "hello"), (ALIAS_READ, "hello")):
            with pytest.raises(NotFoundError):
                run(authorise(services, stranger, right, name))


class TestNames:
    def test_an_alias_leads_to_its_actor(self, run, services, jane, actor, alias):
        assert run(authorise(services, jane, READ, "hello")) == actor

    def test_the_actors_permissions_count_not_the_aliases(self, run, services, joe, alias, allow):
        allow(alias.shared, "joe", Level.UPDATE)
        with pytest.raises(ForbiddenError, match="you do not have access to this actor"):
            run(authorise(services, joe, READ, "hello"))
        allow(alias.shared, "joe", Level.NONE)
        allow(alias.actor.shared, "joe", Level.READ)
        assert run(authorise(services, joe, READ, "hello")).id == alias.actor_id

    @pytest.mark.parametrize("name", ["", "bad_actor_id", "../x", "\0", "x" * 100_000, "é"])
    @pytest.mark.parametrize("right", [READ, ALIAS_READ])
    def test_what_names_nothing(self, run, services, jane, admin, right, name):
        for caller in (jane, admin):
            with pytest.raises(NotFoundError) as caught:
                run(authorise(services, caller, right, name))
            assert len(caught.value.message) < 100

    def test_an_unknown_id(self, run, services, jane):
        with pytest.raises(NotFoundError):
            run(authorise(services, jane, READ, services.ids.new_id()))

    def test_what_looks_like_an_id_is_never_taken_for_an_alias(self, run, services, jane, actor):
        name = services.ids.new_id()
        draft = run(aliases.create(services, jane, "hello", actor.id))
        run(services.stores.aliases.insert(dataclasses.replace(draft, alias=name)))
        with pytest.raises(NotFoundError):
            run(authorise(services, jane, READ, name))

    def test_an_alias_is_not_an_actors_id(self, run, services, jane, actor):
        with pytest.raises(NotFoundError):
            run(authorise(services, jane, ALIAS_READ, actor.id))

    def test_an_alias_whose_actor_has_gone(self, run, services, jane, actor, alias):
        class Left:
            async def get(self, key):
                raise NotFoundError("gone")

        stores = dataclasses.replace(services.stores, actors=Left())
        with pytest.raises(NotFoundError):
            run(authorise(dataclasses.replace(services, stores=stores), jane, READ, "hello"))


class TestTargets:
    def test_the_form_decides(self, services, actor):
        for scope, name, kind in (
            (Scope.ACTOR, actor.id, ObjectKind.ACTOR),
            (Scope.ACTOR, "hello", ObjectKind.ALIAS),
            (Scope.ALIAS, "hello", ObjectKind.ALIAS),
            (Scope.ALIAS, actor.id, ObjectKind.ALIAS),
        ):
            key = ObjectKey(kind, actor.tenant, name)
            assert target_of(services, scope, actor.tenant, name) == key

    @pytest.mark.parametrize(
        ("level", "is_reading", "needed"),
        [
            (Level.NONE, True, Level.READ),
            (Level.READ, True, Level.READ),
            (Level.UPDATE, True, Level.UPDATE),
            (Level.EXECUTE, False, Level.EXECUTE),
            (Level.UPDATE, False, Level.UPDATE),
            (Level.READ, False, Level.UPDATE),
            (Level.NONE, False, Level.UPDATE),
        ],
    )
    def test_what_a_nonce_needs(self, level, is_reading, needed):
        assert Right(level=level).nonce_level(is_reading=is_reading) is needed


def test_no_name_is_looked_up_that_is_too_long_for_one():
    access.check_length("actor", "x" * 255)
    with pytest.raises(NotFoundError):
        access.check_length("actor", "x" * 256)
