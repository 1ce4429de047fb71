"""Messages whose body is a file, and results by number."""

from __future__ import annotations

from dataclasses import replace

from abaco.domain.message import Blob
from abaco.ports.intake import Submission
from abaco.ports.store import Stores
from tests.support.records import (
    NOON,
    TENANT,
    a_message,
    an_actor,
    an_error_outcome,
    an_execution,
    an_outcome,
    at,
    execution_key,
    new_id,
)
from tests.support.stores import add_worker, claim, enqueue, insert_actor

BLOB = Blob(size_bytes=5_000_000_000, sha256="ab" * 32)
KEY = execution_key(an_actor().key, "e1")


def a_submission(actor: object, blob: Blob | None = BLOB) -> Submission:
    execution = an_execution(actor)  # type: ignore[arg-type]
    return Submission(execution, a_message(execution, body="shown to the sender", blob=blob))


async def test_a_message_with_a_blob_is_stored_without_its_body(stores: Stores) -> None:
    actor = await insert_actor(stores)
    worker = await add_worker(stores, actor)
    one, two = a_submission(actor), a_submission(actor)
    await stores.intake.submit([one], now=NOON)
    await enqueue(stores, *two)
    for sent in (one, two):
        taken = (await claim(stores, worker)).message
        assert (taken.body, taken.blob, taken.execution_id) == (None, BLOB, sent.execution.id)
        await stores.mailbox.finalize(sent.execution.key, 1, an_outcome(), now=NOON)


async def test_blobs_are_needed_as_long_as_their_messages_are_there(stores: Stores) -> None:
    actor = await insert_actor(stores)
    worker = await add_worker(stores, actor)
    batch = [a_submission(actor), a_submission(actor), a_submission(actor, None)]
    await stores.intake.submit(batch, now=NOON)
    running, waiting, plain = (execution.id for execution, _ in batch)
    asked = [running, waiting, plain, new_id()]
    await claim(stores, worker)
    assert await stores.intake.with_blobs(asked) == {running, waiting}  # type: ignore[arg-type]
    key = batch[0].execution.key
    await stores.mailbox.release(key, 1, lost=True)
    assert await stores.intake.with_blobs([running]) == {running}
    await claim(stores, worker)
    await stores.mailbox.finalize(key, 2, an_outcome(), now=NOON)
    assert await stores.intake.with_blobs([running, waiting]) == {waiting}
    await stores.mailbox.purge(actor.key, an_error_outcome())
    assert await stores.intake.with_blobs([running, waiting]) == set()
    assert await stores.intake.with_blobs([]) == set()


async def test_a_deleted_actor_needs_no_blobs(stores: Stores) -> None:
    actor = await insert_actor(stores)
    sent = a_submission(actor)
    await stores.intake.submit([sent], now=NOON)
    await stores.actors.delete(actor.key)
    assert await stores.intake.with_blobs([sent.execution.id]) == set()


async def test_a_released_message_keeps_its_blob(stores: Stores) -> None:
    actor = await insert_actor(stores)
    worker = await add_worker(stores, actor)
    sent = a_submission(actor)
    await stores.intake.submit([sent], now=NOON)
    first = (await claim(stores, worker)).message
    await stores.mailbox.release(sent.execution.key, 1, lost=False)
    assert (await claim(stores, worker)).message == replace(first)


async def test_results_pushed_again_are_passed_over(stores: Stores) -> None:
    results = stores.results
    await results.push(KEY, 0, [b"a", b"b"], expires_at=at(60))
    await results.push(KEY, 0, [b"a", b"b"], expires_at=at(60))
    await results.push(KEY, 1, [b"b", b"c"], expires_at=at(60))
    assert [await results.pop(KEY, NOON) for _ in range(4)] == [b"a", b"b", b"c", None]
    # also when they have been read
    await results.push(KEY, 2, [b"c", b"d"], expires_at=at(60))
    assert [await results.pop(KEY, NOON) for _ in range(2)] == [b"d", None]


async def test_numbers_belong_to_one_execution(stores: Stores) -> None:
    other = execution_key(an_actor(tenant=TENANT).key, "e1")
    for key in (KEY, other):
        await stores.results.push(key, 0, [b"a"], expires_at=at(60))
    assert await stores.results.pop(KEY, NOON) == b"a"
    assert await stores.results.pop(other, NOON) == b"a"


async def test_cleared_results_begin_at_zero_again(stores: Stores) -> None:
    await stores.results.push(KEY, 0, [b"a", b"b"], expires_at=at(60))
    await stores.results.clear(KEY)
    await stores.results.clear(KEY)
    assert await stores.results.pop(KEY, NOON) is None
    await stores.results.push(KEY, 0, [b"new"], expires_at=at(60))
    assert await stores.results.pop(KEY, NOON) == b"new"


async def test_numbers_are_forgotten_with_the_last_results(stores: Stores) -> None:
    await stores.results.push(KEY, 0, [b"a"], expires_at=at(10))
    await stores.results.push(KEY, 1, [b"b"], expires_at=at(20))
    await stores.results.expire(at(15))
    await stores.results.push(KEY, 1, [b"b"], expires_at=at(20))
    assert await stores.results.pop(KEY, at(15)) == b"b"
    assert await stores.results.pop(KEY, at(15)) is None
    await stores.results.expire(at(20))
    await stores.results.push(KEY, 2, [b"later"], expires_at=at(40))
    assert await stores.results.pop(KEY, at(30)) == b"later"


async def test_a_deleted_actors_results_are_forgotten_with_their_numbers(stores: Stores) -> None:
    actor = await insert_actor(stores)
    key = execution_key(actor.key, "e1")
    await stores.results.push(key, 0, [b"a"], expires_at=at(60))
    await stores.actors.delete(actor.key)
    assert await stores.results.pop(key, NOON) is None
    await stores.results.push(key, 0, [b"b"], expires_at=at(60))
    assert await stores.results.pop(key, NOON) == b"b"
