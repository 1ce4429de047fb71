"""What actors get of the host when they are registered and updated."""

import dataclasses
import logging

import pytest

from abaco.config import Settings
from abaco.domain.host_access import HostAccess, HostUser
from abaco.domain.permission import Level
from abaco.errors import IdentityUnavailableError, InvalidInputError, NoAccountError
from abaco.operations import actors
from abaco.operations.definition import ActorDraft
from abaco.ports.identity import IdentityProvider

DRAFT = ActorDraft(image="busybox")
JANE = HostUser(uid=1001, gid=816, home="/home/jane")


class KnownUsers(IdentityProvider):
    """Knows some users of one tenant; remembers who was asked for."""

    def __init__(self, users, tenant="DEV"):
        self.users = users
        self.tenant = tenant
        self.asked = []
        self.is_away = False

    async def find(self, tenant, user):
        self.asked.append((tenant, user))
        if self.is_away:
            raise IdentityUnavailableError("nobody answers")
        if tenant != self.tenant:
            return None
        if user not in self.users:
            raise NoAccountError("nobody knows the owner")
        return self.users[user]


@pytest.fixture
def known():
    return KnownUsers({"jane": JANE, "joe": HostUser(uid=1002, gid=816), "paula": JANE})


@pytest.fixture
def make(services, known):
    """Make services with settings of [workers]."""

    def make(**workers):
        settings = Settings(workers=workers)
        return dataclasses.replace(services, settings=settings, identity=known)

    return make


def shown(actor):
    return [(mount.host_path, mount.container_path, str(mount.mode)) for mount in actor.host.mounts]


class TestUser:
    def test_the_owners(self, run, make, jane, known):
        services = make()
        actor = run(actors.register(services, jane, DRAFT))
        assert actor.host == HostAccess(uid=1001, gid=816, tasdir="/home/jane")
        assert run(services.stores.actors.get(actor.key)).host == actor.host
        assert known.asked == [("DEV", "jane")]

    def test_not_the_updaters(self, run, make, jane, joe, known):
        services = make()
        actor = run(actors.register(services, jane, DRAFT))
        run(services.stores.permissions.grant(actor.key.shared, "joe", Level.UPDATE))
        updated = run(actors.update(services, joe, actor, ActorDraft(image="other")))
        assert updated.host == actor.host
        assert known.asked == [("DEV", "jane")] * 2

    def test_of_the_owner_as_he_is_at_the_update(self, run, make, jane, known):
        services = make()
        actor = run(actors.register(services, jane, DRAFT))
        known.users["jane"] = HostUser(uid=7, gid=8, home="/new")
        assert run(services.stores.actors.get(actor.key)).host.uid == 1001
        updated = run(actors.update(services, jane, actor, DRAFT))
        assert (updated.host.uid, updated.host.gid, updated.host.tasdir) == (7, 8, "/new")
        assert updated.revision == 1

    def test_nobody_without_a_provider(self, run, services, jane):
        assert run(actors.register(services, jane, DRAFT)).host == HostAccess()

    def test_nobody_in_a_tenant_without_a_user(self, run, make, stranger):
        assert run(actors.register(make(), stranger, DRAFT)).host == HostAccess()

    def test_the_images_own_where_that_is_wanted(self, run, make, privileged, known):
        services = make(global_mounts="{tasdir}:/work:rw, /data:/data:ro")
        draft = ActorDraft(image="b", use_container_uid=True)
        actor = run(actors.register(services, privileged, draft))
        assert (actor.host.uid, actor.host.gid, actor.host.tasdir) == (None, None, None)
        assert shown(actor) == [("/data", "/data", "ro")]
        assert known.asked == []
        back = run(actors.update(services, privileged, actor, ActorDraft(image="b")))
        assert back.host.uid == 1001

    def test_only_privileged_users_may_want_that(self, run, make, jane):
        with pytest.raises(InvalidInputError) as caught:
            run(actors.register(make(), jane, ActorDraft(image="b", use_container_uid=True)))
        assert caught.value.field == "use_container_uid"

    @pytest.mark.parametrize("user", [HostUser(uid=0, gid=5), HostUser(uid=2**32 - 1, gid=5)])
    @pytest.mark.parametrize("failure", ["error", "image_user"])
    def test_never_root(self, run, make, jane, known, user, failure):
        known.users["jane"] = user
        with pytest.raises(InvalidInputError, match=str(user.uid)) as caught:
            run(actors.register(make(identity_failure=failure), jane, DRAFT))
        assert caught.value.field == "owner"

    def test_a_group_no_kernel_has(self, run, make, jane, known):
        known.users["jane"] = HostUser(uid=5, gid=2**32 - 1)
        with pytest.raises(InvalidInputError):
            run(actors.register(make(), jane, DRAFT))

    def test_root_where_it_is_allowed(self, run, make, jane, known):
        known.users["jane"] = HostUser(uid=0, gid=0)
        assert run(actors.register(make(least_uid=0), jane, DRAFT)).host.user == "0:0"

    def test_no_system_accounts_where_they_are_kept_out(self, run, make, jane, known):
        known.users["jane"] = HostUser(uid=999, gid=999)
        with pytest.raises(InvalidInputError, match="999"):
            run(actors.register(make(least_uid=1000), jane, DRAFT))


class TestFailure:
    def test_an_owner_nobody_knows_is_refused(self, run, make, admin):
        services = make()
        with pytest.raises(NoAccountError):
            run(actors.register(services, admin, DRAFT))
        assert run(services.stores.actors.list_actors()) == []

    def test_nobody_answers(self, run, make, jane, known):
        services = make()
        actor = run(actors.register(services, jane, DRAFT))
        known.is_away = True
        with pytest.raises(IdentityUnavailableError):
            run(actors.register(services, jane, DRAFT))
        with pytest.raises(IdentityUnavailableError):
            run(actors.update(services, jane, actor, ActorDraft(image="other")))
        assert run(services.stores.actors.list_actors()) == [actor]

    @pytest.mark.parametrize("is_away", [True, False])
    def test_the_images_user_where_that_is_configured(
        self, run, make, admin, known, is_away, caplog
    ):
        known.is_away = is_away
        services = make(identity_failure="image_user", global_mounts="{tasdir}:/w:rw, /d:/d:ro")
        with caplog.at_level(logging.WARNING):
            actor = run(actors.register(services, admin, DRAFT))
        assert (actor.host.user, shown(actor)) == (None, [("/d", "/d", "ro")])
        assert "runs as its image's user" in caplog.text


class TestMounts:
    def test_those_of_everybody(self, run, make, jane):
        services = make(
            global_mounts="/work/{tenant_id}/{username}:/work:rw, {tasdir}:/home/{username}:ro"
        )
        actor = run(actors.register(services, jane, DRAFT))
        assert shown(actor) == [
            ("/work/DEV/jane", "/work", "rw"),
            ("/home/jane", "/home/jane", "ro"),
        ]
        assert [mount.base for mount in actor.host.mounts] == ["/work", "/"]
        assert run(services.stores.actors.get(actor.key)).host == actor.host

    def test_those_of_the_tenant_instead(self, run, make, jane, stranger):
        services = make(global_mounts="/all:/all:ro", dev_global_mounts="/dev-only:/d:rw")
        assert shown(run(actors.register(services, jane, DRAFT))) == [("/dev-only", "/d", "rw")]
        assert shown(run(actors.register(services, stranger, DRAFT))) == [("/all", "/all", "ro")]

    def test_none_for_a_tenant_that_has_none(self, run, make, jane):
        services = make(global_mounts="/all:/all:ro", dev_global_mounts="")
        assert shown(run(actors.register(services, jane, DRAFT))) == []

    def test_the_owners_not_the_updaters(self, run, make, jane, joe):
        services = make(global_mounts="/work/{username}:/work:rw")
        actor = run(actors.register(services, jane, DRAFT))
        updated = run(actors.update(services, joe, actor, DRAFT))
        assert shown(updated) == shown(actor) == [("/work/jane", "/work", "rw")]

    def test_what_is_stored_stays_until_the_next_update(self, run, make, jane):
        actor = run(actors.register(make(global_mounts="/old:/x:ro"), jane, DRAFT))
        changed = make(global_mounts="/new:/x:ro")
        assert shown(run(changed.stores.actors.get(actor.key))) == [("/old", "/x", "ro")]
        assert shown(run(actors.update(changed, jane, actor, DRAFT))) == [("/new", "/x", "ro")]

    @pytest.mark.parametrize("home", [None, "", "/", "//"])
    def test_no_home_no_mount_of_it(self, run, make, jane, known, home):
        known.users["jane"] = HostUser(uid=5, gid=5, home=home)
        services = make(global_mounts="{tasdir}:/w:rw, /work/{tasdir}:/x:rw, /d:/d:ro")
        assert shown(run(actors.register(services, jane, DRAFT))) == [("/d", "/d", "ro")]

    @pytest.mark.parametrize("user", ["..", "a/b", "/", "."])
    def test_an_owner_whose_name_leads_elsewhere(self, run, make, jane, known, user):
        known.users[user] = JANE
        caller = dataclasses.replace(jane, user=user)
        services = make(global_mounts="/work/{username}:/work:rw")
        with pytest.raises(InvalidInputError, match="cannot be made for this owner") as caught:
            run(actors.register(services, caller, DRAFT))
        assert caught.value.field == "owner"
        assert run(services.stores.actors.list_actors()) == []


class TestPrivileged:
    MOUNTS = {"global_mounts": "/a:/a:ro, /b:/b:ro", "privileged_mounts": "/etc:/etc2:ro, /c:/b:rw"}

    def test_has_mounts_of_its_own(self, run, make, privileged):
        services = make(allow_privileged=True, **self.MOUNTS)
        actor = run(actors.register(services, privileged, ActorDraft(image="b", privileged=True)))
        assert shown(actor) == [("/a", "/a", "ro"), ("/c", "/b", "rw"), ("/etc", "/etc2", "ro")]

    def test_loses_them_with_the_privilege(self, run, make, jane, privileged):
        services = make(allow_privileged=True, **self.MOUNTS)
        actor = run(actors.register(services, privileged, ActorDraft(image="b", privileged=True)))
        updated = run(actors.update(services, jane, actor, DRAFT))
        assert not updated.definition.privileged
        assert shown(updated) == [("/a", "/a", "ro"), ("/b", "/b", "ro")]

    def test_is_switched_off_by_default(self, run, make, privileged, admin):
        for caller in (privileged, admin):
            with pytest.raises(InvalidInputError, match="allow_privileged") as caught:
                run(actors.register(make(), caller, ActorDraft(image="b", privileged=True)))
            assert caught.value.field == "privileged"
        draft = ActorDraft(image="b", privileged=False)
        assert not run(actors.register(make(), privileged, draft)).definition.privileged

    def test_needs_the_role_where_it_is_on(self, run, make, jane):
        services = make(allow_privileged=True)
        with pytest.raises(InvalidInputError, match="only privileged users"):
            run(actors.register(services, jane, ActorDraft(image="b", privileged=True)))
