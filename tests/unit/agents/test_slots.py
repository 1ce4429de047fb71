"""Places on the host: queues apart, nobody asked to leave in vain, books that are right."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from abaco.domain.actor import ActorKey
from abaco.domain.ids import ActorId, Tenant, WorkerId
from abaco.domain.worker import WorkerKey
from agents.slots import Slots

TENANT = Tenant("T")
A, B, C = (ActorKey(TENANT, ActorId(name)) for name in "ABC")
Q, SPECIAL = "default", "special"


def worker(actor: ActorKey, number: int = 0) -> WorkerKey:
    return WorkerKey(actor.tenant, actor.id, WorkerId(f"{actor.id}{number}"))


def full(count: int, actor: ActorKey) -> Slots:
    slots = Slots({Q: count, SPECIAL: 1})
    for number in range(count):
        slots.take(worker(actor, number), Q)
    return slots


def test_places_are_counted() -> None:
    slots = Slots({Q: 2})
    queue = slots.queues[Q]
    slots.take(worker(A), Q)
    assert (len(queue), queue.free, slots.queue_of(worker(A))) == (1, 1, Q)
    assert slots.of(worker(A)) is queue
    assert slots.give_back(worker(A)) == Q
    assert slots.give_back(worker(A)) is None
    assert (len(queue), queue.free, slots.queue_of(worker(A))) == (0, 2, None)


def test_the_next_is_the_first_in_line_while_there_is_a_place() -> None:
    slots = Slots({Q: 1})
    assert slots.next_in(Q) is None
    slots.wait(B, Q)
    slots.wait(C, Q)
    slots.wait(B, Q)
    assert slots.next_in(Q) == B
    slots.take(worker(B), Q)
    assert slots.next_in(Q) is None
    slots.stop_waiting(B)
    slots.stop_waiting(B)
    assert [slots.is_waiting(key) for key in (A, B, C)] == [False, False, True]
    slots.give_back(worker(B))
    assert slots.next_in(Q) == C


def test_a_full_queue_takes_nothing_from_another() -> None:
    slots = full(3, A)
    slots.wait(B, SPECIAL)
    assert slots.next_in(SPECIAL) == B
    assert slots.next_in(Q) is None
    assert not slots.queues[Q].is_wanted(A)
    assert not slots.of(worker(A)).must_hand_on(worker(A))
    assert (slots.serves(SPECIAL), slots.serves("gpu")) == (True, False)


def test_an_actor_waits_in_one_queue() -> None:
    slots = full(1, A)
    slots.wait(B, Q)
    slots.wait(B, SPECIAL)
    assert slots.queues[Q].waiting_count == 0
    assert slots.next_in(SPECIAL) == B


def test_a_closed_house_gives_nothing() -> None:
    slots = Slots({Q: 3})
    slots.wait(A, Q)
    slots.is_closed = True
    assert slots.next_in(Q) is None


def test_one_place_more_than_there_are_may_be_adopted() -> None:
    slots = full(2, A)
    slots.take(worker(B), Q)
    assert (len(slots.queues[Q]), slots.queues[Q].free) == (3, 0)


def test_nobody_hands_on_while_nobody_waits() -> None:
    slots = full(3, A)
    queue = slots.queues[Q]
    assert not queue.must_hand_on(worker(A))
    slots.wait(A, Q)  # for more of its own
    assert not queue.must_hand_on(worker(A))


def test_nobody_hands_on_while_a_place_is_free() -> None:
    slots = Slots({Q: 3})
    slots.take(worker(A, 0), Q)
    slots.take(worker(A, 1), Q)
    slots.wait(B, Q)
    assert not slots.queues[Q].must_hand_on(worker(A))


def test_one_place_goes_round() -> None:
    slots = full(1, A)
    slots.wait(A, Q)
    slots.wait(B, Q)
    queue = slots.queues[Q]
    assert queue.must_hand_on(worker(A))
    assert queue.must_hand_on(worker(A)), "who was told so stays told"
    slots.give_back(worker(A))
    assert slots.next_in(Q) == B


def test_no_more_leave_than_others_wait() -> None:
    slots = full(20, A)
    queue = slots.queues[Q]
    slots.wait(B, Q)
    told = [number for number in range(20) if queue.must_hand_on(worker(A, number))]
    assert told == [0]
    assert not queue.is_wanted(A)
    assert not queue.is_short
    slots.wait(C, Q)
    assert queue.is_short
    assert queue.must_hand_on(worker(A, 7))
    assert not queue.must_hand_on(worker(A, 8))


def test_who_has_no_more_than_its_share_keeps_it() -> None:
    slots = Slots({Q: 4})
    for number in range(3):
        slots.take(worker(A, number), Q)
    slots.take(worker(B), Q)
    slots.take(worker(B, 1), Q)
    slots.wait(C, Q)
    slots.queues[Q].must_hand_on(worker(A))
    assert not slots.queues[Q].must_hand_on(worker(B))


def test_who_has_been_idle_the_longest() -> None:
    slots = Slots({Q: 4})
    queue = slots.queues[Q]
    for key in (A, B, C):
        slots.take(worker(key), Q)
        queue.rest(worker(key))
    queue.rest(worker(A))
    assert queue.longest_idle(but=B) == worker(A)
    assert queue.longest_idle(but=A) == worker(B)
    queue.work(worker(A))
    queue.rest(worker(A))
    assert queue.longest_idle(but=B) == worker(C)
    queue.leave(worker(C))
    queue.rest(worker(C))
    assert queue.longest_idle(but=B) == worker(A)
    slots.give_back(worker(A))
    assert queue.longest_idle(but=B) is None


def test_who_left_and_was_gone_is_not_counted_twice() -> None:
    slots = full(2, A)
    queue = slots.queues[Q]
    queue.leave(worker(A))
    queue.leave(worker(A))
    assert (queue.shares.places(A), len(queue)) == (1, 2)
    slots.give_back(worker(A))
    assert (queue.shares.places(A), len(queue)) == (1, 1)
    queue.leave(worker(A))
    assert queue.shares.places(A) == 1


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["take", "give_back", "wait", "stop_waiting", "ask", "rest", "leave"]),
        st.sampled_from([A, B, C]),
        st.integers(0, 4),
    ),
    max_size=60,
)


@given(steps=STEPS, count=st.integers(1, 5))
def test_the_books_are_right_whatever_happens(
    steps: list[tuple[str, ActorKey, int]], count: int
) -> None:
    slots = Slots({Q: count})
    queue = slots.queues[Q]
    held: set[WorkerKey] = set()
    for step, actor, number in steps:
        one = worker(actor, number)
        if step == "take" and one not in held and slots.next_in(Q) == actor:
            slots.take(one, Q)
            held.add(one)
        elif step == "give_back":
            slots.give_back(one)
            held.discard(one)
        elif step == "wait":
            slots.wait(actor, Q)
        elif step == "stop_waiting":
            slots.stop_waiting(actor)
        elif step == "ask" and one in held:
            leaving = len(queue._leaving)
            if queue.must_hand_on(one) and len(queue._leaving) > leaving:
                assert len(queue._leaving) + queue.free <= queue.waiting_count
        elif step == "rest" and one in held:
            queue.rest(one)
        elif step == "leave" and one in held:
            queue.leave(one)
        queue.shares.check()
        assert len(queue) == len(held) <= count
        assert queue._leaving <= held
        assert set(queue._idle) <= held - queue._leaving
        assert sum(map(queue.shares.places, (A, B, C))) == len(held) - len(queue._leaving)
        assert (slots.next_in(Q) is None) == (not queue.free or not queue.waiting_count)
