"""Ids, callers, keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abaco.domain.caller import (
    ADMIN_ROLE,
    ALL_ROLE,
    EVERYONE_ROLE,
    LIMITED_ROLE,
    PRIVILEGED_ROLE,
    Caller,
)
from abaco.domain.ids import DEFAULT_SALT, ID_BITS, Tenant, encode_id, is_id
from tests.support.records import a_message, a_worker, an_actor, an_execution


@given(number=st.integers(0, 2**ID_BITS - 1))
def test_every_id_decodes_under_its_salt_and_is_plain_text(number: int) -> None:
    text = encode_id(number)
    assert is_id(text)
    assert text.isalnum()
    assert len(text) <= 14


def test_ids_of_the_older_system_are_recognised() -> None:
    assert encode_id(2**62) != encode_id(2**62 + 1)
    assert is_id(encode_id(123456789, DEFAULT_SALT))
    assert not is_id(encode_id(2**61, "another salt"))


@pytest.mark.parametrize("text", ["", "alias", "my-actor", "a.b", "bad_actor_id"])
def test_an_alias_is_not_an_id(text: str) -> None:
    assert not is_id(text)


@pytest.mark.parametrize(
    ("role", "is_admin", "is_privileged"),
    [
        (ADMIN_ROLE, True, True),
        (ALL_ROLE, True, True),
        (PRIVILEGED_ROLE, False, True),
        (LIMITED_ROLE, False, False),
        (EVERYONE_ROLE, False, False),
    ],
)
def test_roles(role: str, is_admin: bool, is_privileged: bool) -> None:
    caller = Caller(tenant=Tenant("T"), user="u", roles=frozenset({role}), api_server="http://x")
    assert (caller.is_admin, caller.is_privileged) == (is_admin, is_privileged)


def test_keys_lead_from_one_record_to_the_next() -> None:
    actor = an_actor(tenant=Tenant("A_B"))
    execution, worker = an_execution(actor), a_worker(actor)
    message = a_message(execution)
    assert actor.key.dbid == f"A_B_{actor.id}"
    assert execution.key.actor == worker.key.actor == message.actor == actor.key
    assert message.execution == execution.key
    assert worker.channel_name == f"worker_{worker.id}"
