"""Places on the host: order, shares, and nobody asked to leave in vain."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from abaco.domain.actor import ActorKey
from abaco.domain.ids import ActorId, Tenant, WorkerId
from abaco.domain.worker import WorkerKey
from agents.slots import Slots

TENANT = Tenant("T")
A, B, C = (ActorKey(TENANT, ActorId(name)) for name in "ABC")


def worker(actor: ActorKey, number: int = 1) -> WorkerKey:
    return WorkerKey(actor.tenant, actor.id, WorkerId(f"{actor.id}{number}"))


def full(count: int, actor: ActorKey) -> Slots:
    slots = Slots(count)
    for number in range(count):
        slots.take(worker(actor, number))
    return slots


def test_places_are_counted() -> None:
    slots = Slots(2)
    assert slots.available(A) == 2
    slots.take(worker(A))
    assert (len(slots), slots.available(B)) == (1, 1)
    slots.give_back(worker(A))
    slots.give_back(worker(A))
    assert slots.available(B) == 2


def test_who_waits_longer_comes_first() -> None:
    slots = Slots(1)
    slots.wait(B)
    slots.wait(C)
    slots.wait(B)
    assert slots.waiting() == [B, C]
    assert [slots.available(key) for key in (A, B, C)] == [0, 1, 0]
    slots.stop_waiting(B)
    slots.stop_waiting(B)
    assert [slots.available(key) for key in (A, B, C)] == [0, 0, 1]


def test_who_has_its_share_waits_behind_who_has_not() -> None:
    slots = full(2, A)
    slots.wait(A)
    slots.wait(B)
    assert slots.waiting() == [B, A]
    slots.give_back(worker(A, 0))
    assert (slots.available(A), slots.available(B)) == (0, 1)


def test_a_closed_house_gives_nothing() -> None:
    slots = Slots(3)
    slots.is_closed = True
    assert slots.available(A) == 0


def test_nobody_hands_on_while_nobody_waits() -> None:
    slots = full(3, A)
    assert not slots.must_hand_on(worker(A))
    slots.wait(A)  # for more of its own
    assert not slots.must_hand_on(worker(A))


def test_one_place_goes_round() -> None:
    slots = full(1, A)
    slots.wait(B)
    assert slots.must_hand_on(worker(A, 0))
    assert slots.must_hand_on(worker(A, 0)), "who was told so stays told"
    slots.give_back(worker(A, 0))
    assert slots.available(A) == 0
    assert slots.available(B) == 1


def test_no_more_leave_than_others_wait() -> None:
    slots = full(20, A)
    slots.wait(B)
    told = [number for number in range(20) if slots.must_hand_on(worker(A, number))]
    assert told == [0]
    assert not slots.is_wanted(A)
    slots.wait(C)
    assert slots.must_hand_on(worker(A, 7))
    assert not slots.must_hand_on(worker(A, 8))


def test_who_has_no_more_than_its_share_keeps_it() -> None:
    slots = Slots(4)
    for number in range(3):
        slots.take(worker(A, number))
    slots.take(worker(B))
    slots.wait(C)
    assert not slots.must_hand_on(worker(B))
    assert slots.must_hand_on(worker(A, 0))


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["take", "give_back", "wait", "stop_waiting", "ask"]),
        st.sampled_from([A, B, C]),
        st.integers(0, 4),
    ),
    max_size=60,
)


@given(steps=STEPS, count=st.integers(1, 5))
def test_the_books_are_right_whatever_happens(
    steps: list[tuple[str, ActorKey, int]], count: int
) -> None:
    slots = Slots(count)
    held: set[WorkerKey] = set()
    for step, actor, number in steps:
        one = worker(actor, number)
        if step == "take" and one not in held and slots.available(actor):
            slots.take(one)
            held.add(one)
        elif step == "give_back":
            slots.give_back(one)
            held.discard(one)
        elif step == "wait":
            slots.wait(actor)
        elif step == "stop_waiting":
            slots.stop_waiting(actor)
        elif step == "ask" and one in held and slots.must_hand_on(one):
            assert not slots.is_closed
        assert len(slots) == len(held) <= count
        assert sum(slots._by_actor.values()) == len(held)
        assert slots._leaving <= held
        assert max(slots.available(key) for key in (A, B, C)) == count - len(held) or (
            len(slots.waiting()) > 0
        )
