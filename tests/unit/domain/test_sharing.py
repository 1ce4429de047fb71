"""Levels, names of aliases, and what a nonce may be."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abaco.domain.actor import ActorKey
from abaco.domain.alias import (
    FORBIDDEN_CHARACTERS,
    MAX_ALIAS_LENGTH,
    RESERVED,
    Alias,
    AliasKey,
    check_alias,
)
from abaco.domain.caller import (
    ADMIN_ROLE,
    ALL_ROLE,
    EVERYONE_ROLE,
    LIMITED_ROLE,
    PRIVILEGED_ROLE,
    Caller,
)
from abaco.domain.ids import ActorId, Tenant, encode_id, is_id
from abaco.domain.nonce import MAX_DESCRIPTION_LENGTH, MAX_LIFE_S, UNLIMITED, check_nonce, tenant_of
from abaco.domain.permission import (
    MAX_USER_LENGTH,
    WORLD,
    Level,
    ObjectKey,
    ObjectKind,
    check_user,
    effective_level,
    parse_level,
)
from abaco.errors import InvalidInputError
from tests.support.records import NOON, an_actor

ACTOR = ObjectKey(ObjectKind.ACTOR, Tenant("DEV"), "a1")
ALIAS = ObjectKey(ObjectKind.ALIAS, Tenant("DEV"), "hello")

levels = st.sampled_from(Level)


def refused(field: str, function, *arguments) -> str:
    with pytest.raises(InvalidInputError) as caught:
        function(*arguments)
    assert caught.value.field == field
    return caught.value.message


class TestLevels:
    def test_they_are_in_order(self) -> None:
        names = ["NONE", "READ", "EXECUTE", "UPDATE"]
        assert [level.name for level in sorted(Level)] == names
        for low, high in itertools.combinations(names, 2):
            assert Level[low] < Level[high]

    def test_nobody_has_none(self) -> None:
        assert effective_level({}, "jane") is Level.NONE
        assert effective_level({"joe": Level.UPDATE}, "jane") is Level.NONE

    @given(own=levels, world=levels)
    def test_the_higher_of_the_own_and_everybodys_counts(self, own: Level, world: Level) -> None:
        assert effective_level({"jane": own, WORLD: world}, "jane") == max(own, world)
        assert effective_level({WORLD: world, "jane": own}, "joe") == world
        assert effective_level({"jane": own}, "jane") == own

    @pytest.mark.parametrize("level", Level)
    def test_names_are_read(self, level: Level) -> None:
        assert parse_level(level.name) is level

    @pytest.mark.parametrize("text", ["", "read", "WRITE", "3", "READ ", "__class__", "name"])
    def test_other_names_are_refused(self, text: str) -> None:
        assert "NONE, READ, EXECUTE, UPDATE" in refused("level", parse_level, text)


class TestUsers:
    @pytest.mark.parametrize("name", ["jane", "a.b", "$where", "jane doe", "é", WORLD, "x" * 256])
    def test_any_name_that_can_be_shown(self, name: str) -> None:
        assert check_user(name) == name

    @pytest.mark.parametrize("name", ["", "a\nb", "\x1b[2J", "x" * (MAX_USER_LENGTH + 1)])
    def test_no_other(self, name: str) -> None:
        refused("user", check_user, name)


class TestAliasNames:
    @pytest.mark.parametrize(
        "name",
        ["hello", "my.actor", "a-b_c", "x-admin", "Admin", "é", "~", "%41", "{x}", "...", "a.."],
    )
    def test_good_ones(self, name: str) -> None:
        assert check_alias(name, is_id) == name

    @pytest.mark.parametrize("name", sorted(RESERVED))
    def test_reserved_words(self, name: str) -> None:
        assert "reserved" in refused("alias", check_alias, name, is_id)

    def test_every_word_of_a_path_is_reserved(self) -> None:
        words = {
            "executions", "nonces", "logs", "messages", "adapters", "admin", "aliases", "configs",
            "search", "utilization", "cron", "metrics", "v2", "workers", "state", "permissions",
            "results",
        }  # fmt: skip
        assert words <= RESERVED

    @pytest.mark.parametrize("char", sorted(FORBIDDEN_CHARACTERS))
    def test_forbidden_characters(self, char: str) -> None:
        for name in (char, f"a{char}", f"{char}b", f"a{char}b"):
            assert repr(char) in refused("alias", check_alias, name, is_id)

    def test_all_that_the_interface_forbids(self) -> None:
        assert set("\\ \":/?#[]@!$&'()*+,;=") == FORBIDDEN_CHARACTERS

    @pytest.mark.parametrize("name", ["a\nb", "a\tb", "\0", "\x7f", "\u2028", "\u00a0", "\ud800"])
    def test_what_cannot_be_shown(self, name: str) -> None:
        refused("alias", check_alias, name, is_id)

    @pytest.mark.parametrize("name", [".", ".."])
    def test_steps_in_a_path(self, name: str) -> None:
        refused("alias", check_alias, name, is_id)

    @given(number=st.integers(0, 2**63 - 1))
    def test_what_looks_like_an_id(self, number: int) -> None:
        assert "id" in refused("alias", check_alias, encode_id(number), is_id)

    def test_lengths(self) -> None:
        longest = "-" * MAX_ALIAS_LENGTH
        assert check_alias(longest, is_id) == longest
        for name in ("", longest + "-"):
            refused("alias", check_alias, name, is_id)


class TestNonces:
    @pytest.mark.parametrize("max_uses", [UNLIMITED, 1, 2, 10**9])
    @pytest.mark.parametrize("level", Level)
    def test_of_an_actor(self, level: Level, max_uses: int) -> None:
        check_nonce(ACTOR, level, max_uses, "d" * MAX_DESCRIPTION_LENGTH, None)

    @pytest.mark.parametrize("max_uses", [0, -2, -(10**9), 10**9 + 1, 2**63])
    def test_no_uses(self, max_uses: int) -> None:
        refused("max_uses", check_nonce, ACTOR, Level.READ, max_uses, "", None)

    def test_of_an_alias(self) -> None:
        for level in (Level.NONE, Level.READ, Level.EXECUTE):
            check_nonce(ALIAS, level, 1, "", None)
        refused("level", check_nonce, ALIAS, Level.UPDATE, 1, "", None)

    def test_lives(self) -> None:
        for seconds in (1, 3600, MAX_LIFE_S):
            check_nonce(ACTOR, Level.READ, 1, "", seconds)
        for seconds in (0, -1, MAX_LIFE_S + 1):
            refused("expires_in", check_nonce, ACTOR, Level.READ, 1, "", seconds)

    def test_a_story_is_no_description(self) -> None:
        text = "d" * (MAX_DESCRIPTION_LENGTH + 1)
        refused("description", check_nonce, ACTOR, Level.READ, 1, text, None)

    @pytest.mark.parametrize(
        ("nonce", "tenant"),
        [
            ("DEV_abc", "DEV"),
            ("DEV_STAGING_abc", "DEV_STAGING"),
            ("abc", ""),
            ("_abc", ""),
            ("", ""),
        ],
    )
    def test_the_tenant_is_what_stands_before_the_last_underscore(
        self, nonce: str, tenant: str
    ) -> None:
        assert tenant_of(nonce) == tenant


@pytest.mark.parametrize(
    ("role", "may"),
    [
        (ADMIN_ROLE, True),
        (ALL_ROLE, True),
        (PRIVILEGED_ROLE, True),
        (LIMITED_ROLE, True),
        ("Internal/abaco-user", True),
        (EVERYONE_ROLE, False),
        ("", False),
    ],
)
def test_roles_for_base_use(role: str, may: bool) -> None:
    caller = Caller(tenant=Tenant("T"), user="u", roles=frozenset({role}), api_server="http://x")
    assert caller.may_use("Internal/abaco-user") is may
    assert caller.nonce_level is None


def test_the_key_that_actors_are_shared_by() -> None:
    actor = an_actor(tenant=Tenant("A_B"))
    assert actor.key.shared == ObjectKey(ObjectKind.ACTOR, Tenant("A_B"), actor.id)


def test_the_keys_of_an_alias() -> None:
    alias = Alias(
        tenant=Tenant("A_B"),
        alias="my.alias",
        actor_id=ActorId("a1"),
        owner="jane",
        api_server="http://x",
        create_time=NOON,
    )
    assert alias.key == AliasKey(Tenant("A_B"), "my.alias")
    assert alias.actor == ActorKey(Tenant("A_B"), ActorId("a1"))
    assert alias.shared == ObjectKey(ObjectKind.ALIAS, Tenant("A_B"), "my.alias")
