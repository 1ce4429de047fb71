"""Searching: every sentence of its contract, one search at a time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from abaco.domain.ids import ActorId, ExecutionId, Tenant
from abaco.domain.permission import WORLD, Level
from abaco.domain.search import SearchKind, SearchScope, parse_query
from abaco.errors import LimitExceededError
from abaco.ports.search import SearchPage
from abaco.ports.store import Stores
from tests.support.records import (
    OWNER,
    TENANT,
    SteppedClock,
    a_message,
    an_actor,
    an_error_outcome,
    an_execution,
    at,
)
from tests.support.stores import (
    BACKENDS,
    add_worker,
    enqueue,
    insert_actor,
    leased_run,
    opened,
    submit,
)

ACTORS, EXECUTIONS, WORKERS, LOGS = SearchKind


async def find(
    stores: Stores,
    kind: SearchKind,
    *,
    user: str = OWNER,
    tenant: str = TENANT,
    actor: str | None = None,
    execution: str | None = None,
    **parameters: str,
) -> SearchPage:
    """Search; in names of parameters two underscores stand for a dot."""
    scope = SearchScope(
        kind=kind,
        tenant=Tenant(tenant),
        user=user,
        actor_id=None if actor is None else ActorId(actor),
        execution_id=None if execution is None else ExecutionId(execution),
    )
    query = parse_query({key.replace("__", "."): [text] for key, text in parameters.items()})
    return await stores.search.search(scope, query)


async def ids(*args: Any, **options: Any) -> list[str]:
    """Return the ids of what is found."""
    return [item.id for item in (await find(*args, **options)).items]


class TestOrderAndPages:
    async def test_oldest_first_then_by_id(self, stores: Stores) -> None:
        for name, seconds in (("b", 1), ("a", 1), ("c", 0)):
            actor = await insert_actor(stores, id=name, create_time=at(seconds))
            for number in (2, 1):
                execution = an_execution(
                    actor, id=f"{name}{number}", message_received_time=at(number)
                )
                await enqueue(stores, execution, a_message(execution))
            await add_worker(stores, actor, id=f"w{name}", create_time=at(-seconds))
        assert await ids(stores, ACTORS) == ["c", "a", "b"]
        assert await ids(stores, EXECUTIONS) == ["a1", "b1", "c1", "a2", "b2", "c2"]
        assert await ids(stores, EXECUTIONS, actor="b") == ["b1", "b2"]
        assert await ids(stores, WORKERS) == ["wa", "wb", "wc"]

    async def test_pages(self, stores: Stores) -> None:
        actor = await insert_actor(stores)
        made = [execution.id for execution in await submit(stores, actor, 5)]
        for search in ({}, {"search": actor.id}):
            for limit, skip in ((2, 0), (2, 2), (2, 4), (5, 0), (5, 5), (0, 0), (3, 9)):
                page = await find(stores, EXECUTIONS, limit=str(limit), skip=str(skip), **search)
                assert [item.id for item in page.items] == made[skip : skip + limit]
                assert page.total == 5

    async def test_words_rank_before_age(self, stores: Stores) -> None:
        for name, description in (
            ("none", "gamma"),
            ("once", "alpha"),
            ("thrice", "alpha Alpha alpha"),
            ("both", "beta, alpha"),
            ("again", "alpha"),
        ):
            await insert_actor(stores, id=name, description=description)
        assert await ids(stores, ACTORS, search="alpha BETA") == ["both", "thrice", "again", "once"]
        assert await ids(stores, ACTORS, search="alpha", limit="2") == ["thrice", "again"]
        assert await ids(stores, ACTORS, search="alpha", exactsearch="beta, ALPHA") == ["both"]
        assert await ids(stores, ACTORS, exactsearch="alph") == []

    async def test_whole_records_come_back(self, stores: Stores) -> None:
        actor, worker, claim = await leased_run(stores, state={"n": [1]}, hints=("a",))
        await stores.mailbox.finalize(
            claim.execution.key, 1, an_error_outcome(final_state={"a": 1}), now=at(1)
        )
        for kind, expected in (
            (ACTORS, await stores.actors.get(actor.key)),
            (WORKERS, await stores.workers.get(worker.key)),
            (EXECUTIONS, await stores.executions.get(claim.execution.key)),
        ):
            assert list((await find(stores, kind)).items) == [expected]


class TestRights:
    @pytest.mark.parametrize("level", Level)
    @pytest.mark.parametrize("user", ["ann", WORLD])
    async def test_by_own_or_everybodys_level(
        self, stores: Stores, user: str, level: Level
    ) -> None:
        actor, _, claim = await leased_run(stores)
        await stores.logs.append(claim.execution.key, 0, b"x", max_bytes=9, expires_at=None)
        await stores.permissions.grant(actor.key.shared, user, level)
        is_visible = level >= Level.READ
        for kind in SearchKind:
            for named in (None, actor.id):
                page = await find(stores, kind, user="ann", actor=named)
                assert page.total == is_visible, kind
                assert (await find(stores, kind, user="ann", actor=named, search="x")).total <= 1
                elsewhere = await find(stores, kind, user="ann", actor=named, tenant="OTHER")
                assert elsewhere.total == 0

    async def test_the_higher_of_two_levels_counts_once(self, stores: Stores) -> None:
        actor = await insert_actor(stores)
        await stores.permissions.grant(actor.key.shared, "ann", Level.NONE)
        await stores.permissions.grant(actor.key.shared, WORLD, Level.READ)
        assert await ids(stores, ACTORS, user="ann") == [actor.id]
        await stores.permissions.grant(actor.key.shared, "ann", Level.UPDATE)
        assert await ids(stores, ACTORS, user="ann") == [actor.id]

    async def test_deleted_actors_take_everything_along(self, stores: Stores) -> None:
        actor, _, claim = await leased_run(stores)
        await stores.logs.append(claim.execution.key, 0, b"x", max_bytes=9, expires_at=None)
        await stores.actors.delete(actor.key)
        # the record is still there, for accounting
        assert await stores.executions.get(claim.execution.key)
        for kind in SearchKind:
            assert (await find(stores, kind)).total == 0
            assert (await find(stores, kind, actor=actor.id)).total == 0

    async def test_twins_in_two_tenants(self, stores: Stores) -> None:
        for tenant in ("ONE", "TWO"):
            actor = await insert_actor(stores, id="twin", tenant=tenant, description=tenant)
            execution = an_execution(actor, id="e", executor=tenant)
            await enqueue(stores, execution, a_message(execution))
            await add_worker(stores, actor, id="w", host_id=tenant)
        for kind in (ACTORS, EXECUTIONS, WORKERS):
            (item,) = (await find(stores, kind, tenant="TWO")).items
            assert item.tenant == "TWO"


class TestLogs:
    async def test_one_per_execution_that_has_any(
        self, stores: Stores, clock: SteppedClock
    ) -> None:
        actor, _, claim = await leased_run(stores)
        key = claim.execution.key
        waiting, *_ = await submit(stores, actor, 1)
        assert await ids(stores, LOGS) == []
        await stores.logs.append(key, 0, b"alpha be", max_bytes=99, expires_at=at(60))
        await stores.logs.append(key, 8, b"ta", max_bytes=99, expires_at=at(60))
        assert await ids(stores, LOGS) == [key.id]
        assert await ids(stores, LOGS, logs="alpha beta") == [key.id]
        assert await ids(stores, LOGS, logs__like="a b") == [key.id]
        assert await ids(stores, LOGS, exactsearch="ALPHA BETA") == [key.id]
        assert await ids(stores, LOGS, execution_id=key.id, actor_id=actor.id) == [key.id]
        assert await ids(stores, LOGS, actor=actor.id, execution=key.id) == [key.id]
        assert await ids(stores, LOGS, actor=actor.id, execution=waiting.id) == []
        clock.advance(60)
        assert await ids(stores, LOGS) == []
        await stores.mailbox.finalize(key, 1, an_error_outcome(), now=at(61))
        assert await ids(stores, LOGS) == []  # it had output, and that is gone
        await stores.logs.expire(at(61))
        assert await ids(stores, LOGS) == []

    async def test_the_silent_have_an_empty_one_at_their_end(self, stores: Stores) -> None:
        _, _, claim = await leased_run(stores)
        await stores.mailbox.finalize(claim.execution.key, 1, an_error_outcome(), now=at(1))
        assert await ids(stores, LOGS, logs="") == [claim.execution.id]

    async def test_as_it_is_shown(self, stores: Stores) -> None:
        _, _, claim = await leased_run(stores)
        await stores.logs.append(
            claim.execution.key, 0, "aé".encode(), max_bytes=2, expires_at=None
        )
        assert (await find(stores, LOGS, logs__like="^a LOG LIMIT EXCEEDED")).total == 1
        assert (await find(stores, LOGS, exactsearch="limit exceeded")).total == 1


class TestTexts:
    @pytest.mark.parametrize("text", ["'; DROP TABLE actors; --", '"', "%", "?1", ":v1", "\\"])
    async def test_what_a_client_writes_is_only_a_value(self, stores: Stores, text: str) -> None:
        actor = await insert_actor(stores, name=text, state={text: {"inner": text}})
        await insert_actor(stores, name="other")
        assert await ids(stores, ACTORS, name=text) == [actor.id]
        assert (await find(stores, ACTORS, name__neq=text)).total == 1
        if "." not in text:
            key = f"state.{text}.inner"
            assert await ids(stores, ACTORS, **{key: text}) == [actor.id]
            assert (await find(stores, ACTORS, **{text: "x"})).total == 0

    async def test_times_are_compared_as_they_are_shown(self, stores: Stores) -> None:
        await insert_actor(stores)  # at noon and 123456 microseconds
        shown = "2024-02-29T12:00:00.123Z"
        for key, count in (("eq", 1), ("lte", 1), ("gte", 1), ("lt", 0), ("gt", 0), ("neq", 0)):
            page = await find(stores, ACTORS, **{f"create_time__{key}": shown})
            assert page.total == count, key


class HurriedClock(SteppedClock):
    """A clock on which a second goes by whenever somebody looks."""

    def monotonic(self) -> float:
        self.advance(1)
        return super().monotonic()


@pytest.mark.parametrize("backend", BACKENDS)
async def test_what_takes_too_long_is_given_up(backend: str, tmp_path: Path) -> None:
    async with opened(backend, tmp_path, HurriedClock()) as stores:
        actor = await insert_actor(stores)
        await submit(stores, actor, 400)
        with pytest.raises(LimitExceededError, match="search_timeout_s"):
            await find(stores, EXECUTIONS, exactsearch="unheard of")
        # the next one is served as ever
        assert (await find(stores, ACTORS)).total == 1


async def test_each_search_sees_one_moment(stores: Stores) -> None:
    """An actor moves from one set to the other; no search sees it in both or in none."""
    actor = await insert_actor(stores, name="mover")

    async def move() -> None:
        for number in range(60):
            text = f"side {number % 2}"
            await stores.actors.set_state(actor.key, {"text": text})

    async def look() -> None:
        for _ in range(60):
            page = await find(stores, ACTORS, search="side mover")
            assert (page.total, len(page.items)) == (1, 1)

    await asyncio.gather(move(), look(), look())


async def test_many_searches_at_once(stores: Stores) -> None:
    actors = [await insert_actor(stores, name=f"n{number}") for number in range(20)]
    pages = await asyncio.gather(*(find(stores, ACTORS, name=f"n{n}") for n in range(20)))
    assert [page.items[0].id for page in pages] == [actor.id for actor in actors]
    assert an_actor().key not in {actor.key for actor in actors}
