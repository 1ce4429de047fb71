from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from abaco.domain.actor import ActorStatus
from abaco.domain.execution import ExecutionStatus
from abaco.domain.host_access import HostAccess
from abaco.domain.ids import ActorId, Tenant
from abaco.errors import ConflictError, NotFoundError
from abaco.ports.store import Stores
from tests.support.records import (
    NOON,
    SteppedClock,
    a_definition,
    a_host,
    an_actor,
    an_outcome,
    at,
    execution_key,
)
from tests.support.stores import add_worker, claim, insert_actor, leased_run, submit

ANY_STATUS = frozenset(ActorStatus)


async def test_an_actor_comes_back_as_it_was_stored(stores: Stores) -> None:
    actor = an_actor(
        name="näme \N{SNOWMAN}",
        description="a 'quoted' \"text\"\nwith lines; DROP TABLE actors",
        stateless=False,
        token=True,
        hints=("one", "two"),
        max_workers=3,
        mem_limit="3g",
        max_cpus=2_000_000_000,
        default_environment={"a.b": "1", "$c": None, "": [1, {"x": 2.5}]},
        log_ex=-1,
        status=ActorStatus.ERROR,
        status_message="broken",
        revision=7,
        state=[1, "two", None],
        state_version=4,
        last_update_time=at(60),
        host=a_host(),
    )
    await stores.actors.insert(actor)
    assert await stores.actors.get(actor.key) == actor


async def test_an_update_replaces_what_it_has_of_the_host_only_when_it_is_told(
    stores: Stores,
) -> None:
    actor = await insert_actor(stores, host=a_host())
    update = stores.actors.update
    kept = await update(actor.key, a_definition(), new_revision=False, now=at(1))
    assert kept.host == actor.host
    other = a_host(uid=0, gid=0, tasdir=None, mounts=())
    changed = await update(actor.key, a_definition(), new_revision=True, now=at(2), host=other)
    assert changed.host == other
    assert await stores.actors.get(actor.key) == changed
    none = await update(actor.key, a_definition(), new_revision=True, now=at(3), host=HostAccess())
    assert none.host == HostAccess()
    with pytest.raises(ConflictError):
        await update(
            actor.key, a_definition(), new_revision=False, now=at(4), expect_revision=1, host=other
        )
    assert (await stores.actors.get(actor.key)).host == HostAccess()


async def test_a_claim_has_what_its_actor_has_of_the_host_then(stores: Stores) -> None:
    actor = await insert_actor(stores, host=a_host())
    worker = await add_worker(stores, actor)
    await submit(stores, actor)
    await stores.actors.update(
        actor.key, a_definition(), new_revision=False, now=at(1), host=a_host(uid=77)
    )
    assert (await claim(stores, worker)).actor.host == a_host(uid=77)


async def test_times_keep_their_microseconds_and_come_back_in_utc(stores: Stores) -> None:
    east = timezone(timedelta(hours=5, minutes=30))
    odd = datetime(2199, 12, 31, 23, 59, 59, 999_999, tzinfo=east)
    early = datetime(1901, 1, 1, 0, 0, 0, 1, tzinfo=east)
    actor = await insert_actor(stores, create_time=early, last_update_time=odd)
    stored = await stores.actors.get(actor.key)
    assert (stored.create_time, stored.last_update_time) == (early, odd)


async def test_insert_refuses_a_taken_key_and_changes_nothing(stores: Stores) -> None:
    actor = await insert_actor(stores)
    with pytest.raises(ConflictError, match=actor.id):
        await stores.actors.insert(replace(actor, owner="other"))
    assert await stores.actors.get(actor.key) == actor


async def test_the_same_id_in_two_tenants_is_two_actors(stores: Stores) -> None:
    one = await insert_actor(stores, tenant=Tenant("A_B"), id=ActorId("x"), owner="one")
    two = await insert_actor(stores, tenant=Tenant("A"), id=ActorId("x"), owner="two")
    assert (await stores.actors.get(one.key)).owner == "one"
    assert (await stores.actors.get(two.key)).owner == "two"


async def test_a_write_to_an_absent_actor_creates_nothing(stores: Stores) -> None:
    key = an_actor().key
    calls = (
        stores.actors.get(key),
        stores.actors.update(key, a_definition(), new_revision=True, now=NOON),
        stores.actors.set_status(key, ActorStatus.READY, "", expect=ANY_STATUS),
        stores.actors.set_state(key, {}),
    )
    for call in calls:
        with pytest.raises(NotFoundError, match=key.id):
            await call
    assert await stores.actors.list_actors() == []


async def test_actors_are_paged_by_time_then_id(stores: Stores) -> None:
    times = (3, 1, 2, 1, 1)
    tenants = ("A", "B", "A", "B", "A")
    actors = [
        await insert_actor(stores, create_time=at(time), tenant=Tenant(tenant))
        for time, tenant in zip(times, tenants, strict=True)
    ]
    expected = sorted(actors, key=lambda actor: (actor.create_time, actor.id))
    pages, after = [], None
    while page := await stores.actors.list_actors(after=after, limit=2):
        assert len(page) <= 2
        pages += page
        after = page[-1]
    assert pages == expected


async def test_update_replaces_the_definition_only(stores: Stores) -> None:
    actor = await insert_actor(
        stores, status=ActorStatus.ERROR, status_message="bad", state={"n": 1}, state_version=2
    )
    definition = a_definition(name="new", hints=("h",))
    updated = await stores.actors.update(actor.key, definition, new_revision=False, now=at(9))
    assert updated == replace(
        actor, definition=definition, status_message="", last_update_time=at(9)
    )
    assert await stores.actors.get(actor.key) == updated


async def test_update_to_a_new_revision_starts_the_actor_again(stores: Stores) -> None:
    actor = await insert_actor(stores, status=ActorStatus.ERROR, status_message="bad")
    updated = await stores.actors.update(
        actor.key, actor.definition, new_revision=True, now=at(9), expect_revision=1
    )
    assert (updated.revision, updated.status) == (2, ActorStatus.SUBMITTED)
    assert updated.status_message == ""
    with pytest.raises(ConflictError, match="2"):
        await stores.actors.update(
            actor.key, actor.definition, new_revision=True, now=at(10), expect_revision=1
        )
    assert await stores.actors.get(actor.key) == updated


async def test_an_actor_that_shuts_down_takes_no_update_and_no_state(stores: Stores) -> None:
    actor = await insert_actor(stores, status=ActorStatus.SHUTTING_DOWN)
    with pytest.raises(ConflictError, match="SHUTTING_DOWN"):
        await stores.actors.update(actor.key, a_definition(), new_revision=True, now=NOON)
    with pytest.raises(ConflictError, match="SHUTTING_DOWN"):
        await stores.actors.set_state(actor.key, 1)
    assert await stores.actors.get(actor.key) == actor


async def test_status_is_compared_before_it_is_set(stores: Stores) -> None:
    actor = await insert_actor(stores)
    set_status = stores.actors.set_status
    assert not await set_status(actor.key, ActorStatus.READY, "x", expect=[ActorStatus.ERROR])
    assert not await set_status(actor.key, ActorStatus.READY, "x", expect=ANY_STATUS, revision=2)
    assert not await set_status(actor.key, ActorStatus.READY, "x", expect=())
    assert await stores.actors.get(actor.key) == actor
    assert await set_status(
        actor.key, ActorStatus.READY, "fine", expect=[ActorStatus.SUBMITTED], revision=1
    )
    assert await stores.actors.get(actor.key) == replace(
        actor, status=ActorStatus.READY, status_message="fine"
    )


async def test_state_moves_its_version_and_obeys_the_expected_one(stores: Stores) -> None:
    actor = await insert_actor(stores)
    first = await stores.actors.set_state(actor.key, {"n": 1})
    assert (first.state, first.state_version) == ({"n": 1}, 1)
    second = await stores.actors.set_state(actor.key, "text", expect_version=1)
    assert (second.state, second.state_version) == ("text", 2)
    with pytest.raises(ConflictError, match="version"):
        await stores.actors.set_state(actor.key, "late", expect_version=1)
    assert await stores.actors.get(actor.key) == second


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**400), 10**400)
    | st.floats(allow_nan=False)
    | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(value=json_values)
async def test_any_json_value_comes_back_exactly(stores: Stores, value: Any) -> None:
    actor = await insert_actor(stores, default_environment={"v": value})
    written = await stores.actors.set_state(actor.key, value)
    for stored in (written, await stores.actors.get(actor.key)):
        assert repr(stored.state) == repr(value)
        assert repr(stored.definition.default_environment) == repr({"v": value})


@pytest.mark.parametrize(
    "value", ["\ud800 alone", "nul \0 inside", {"\udfff": ["\0"]}, 2**63, -0.0]
)
async def test_awkward_values_come_back_too(stores: Stores, value: Any) -> None:
    actor = await insert_actor(stores)
    await stores.actors.set_state(actor.key, value)
    assert repr((await stores.actors.get(actor.key)).state) == repr(value)


async def test_nobody_reaches_into_the_store(stores: Stores) -> None:
    state: dict[str, Any] = {"list": [1]}
    environment: dict[str, Any] = {"a": {"b": 1}}
    actor = await insert_actor(stores, state=state, default_environment=environment)
    state["list"].append(2)
    environment["a"]["b"] = 2
    got = await stores.actors.get(actor.key)
    got.state["list"].append(3)
    (await stores.actors.list_actors())[0].state["list"].append(4)
    (await stores.actors.set_state(actor.key, got.state)).state["list"].append(5)
    stored = await stores.actors.get(actor.key)
    assert stored.state == {"list": [1, 3]}
    assert stored.definition.default_environment == {"a": {"b": 1}}


async def test_what_is_no_json_value_is_refused(stores: Stores) -> None:
    actor = await insert_actor(stores)
    with pytest.raises(TypeError):
        await stores.actors.set_state(actor.key, {"set": {1, 2}})
    assert await stores.actors.get(actor.key) == actor


async def test_delete_takes_all_that_is_only_the_actors_own(stores: Stores) -> None:
    other, _, _ = await leased_run(stores)
    other_log = execution_key(other.key, "e")
    actor = await insert_actor(stores)
    key = execution_key(actor.key, "e")
    await add_worker(stores, actor)
    for log in (key, other_log):
        await stores.logs.append(log, 0, b"text", max_bytes=10, expires_at=None)
        await stores.results.push(log, 0, [b"result"], expires_at=at(100))
    await stores.actors.delete(actor.key)
    with pytest.raises(NotFoundError):
        await stores.actors.get(actor.key)
    assert await stores.workers.list_workers(actor.key) == []
    assert (await stores.logs.read(key)).data == b""
    assert await stores.results.pop(key, NOON) is None
    assert len(await stores.workers.list_workers()) == 1
    assert (await stores.logs.read(other_log)).data == b"text"
    assert await stores.results.pop(other_log, NOON) == b"result"


async def test_delete_ends_queued_messages_and_keeps_their_executions(
    stores: Stores, clock: SteppedClock
) -> None:
    actor = await insert_actor(stores)
    executions = await submit(stores, actor, 3)
    now = clock.advance(60)
    await stores.actors.delete(actor.key)
    listed = await stores.executions.list_executions(actor.key)
    assert [each.id for each in listed] == [each.id for each in executions]
    for execution in listed:
        assert execution.status is ExecutionStatus.ERROR
        assert execution.outcome is not None
        assert execution.outcome.finish_time == now
        assert execution.outcome.error == "actor_deleted"
    assert (await stores.executions.totals(actor.key)).count == 3
    assert await stores.mailbox.count(actor.key) == 0


async def test_delete_of_an_absent_actor_is_no_error(stores: Stores) -> None:
    actor = await insert_actor(stores)
    await stores.actors.delete(actor.key)
    await stores.actors.delete(actor.key)
    await stores.actors.delete(an_actor().key)


async def test_a_run_outlives_its_actor_and_is_finalized(stores: Stores) -> None:
    actor, _, taken = await leased_run(stores)
    key = taken.execution.key
    await stores.actors.delete(actor.key)
    assert [each.key for each in await stores.executions.list_leased()] == [key]
    assert await stores.mailbox.mark_running(key, 1, "c", at(1))
    outcome = an_outcome()
    assert await stores.mailbox.finalize(key, 1, outcome, now=at(3))
    assert (await stores.executions.get(key)).outcome == outcome
    totals = await stores.executions.totals(actor.key)
    assert (totals.count, totals.cpu_ns) == (1, outcome.cpu_ns)


async def test_a_run_given_back_after_its_actor_is_gone_ends(
    stores: Stores, clock: SteppedClock
) -> None:
    actor, _, taken = await leased_run(stores)
    key = taken.execution.key
    await stores.actors.delete(actor.key)
    assert await stores.mailbox.release(key, 1, lost=True)
    execution = await stores.executions.get(key)
    assert execution.status is ExecutionStatus.ERROR
    assert execution.outcome is not None
    assert (execution.outcome.error, execution.outcome.finish_time) == (
        "actor_deleted",
        clock.now(),
    )
    assert await stores.mailbox.backlog() == {}


async def test_a_key_may_be_used_again_after_delete(stores: Stores) -> None:
    actor, _, taken = await leased_run(stores, stateless=False)
    await stores.actors.delete(actor.key)
    await stores.actors.insert(actor)
    worker = await add_worker(stores, actor)
    await submit(stores, actor)
    assert await stores.mailbox.count(actor.key) == 1
    assert await stores.mailbox.finalize(taken.execution.key, 1, an_outcome(), now=NOON)
    assert (await claim(stores, worker)).message.seq > taken.message.seq
