"""Room on disk: what is refused, and what is said of it."""

import pytest

from abaco.errors import StoreUnavailableError
from abaco.operations import messages, uploads
from abaco.operations.actors import register
from abaco.operations.definition import ActorDraft
from abaco.operations.messages import Post
from abaco.operations.space import Space

MIB = 1024**2
POST = Post(body="hi", content_type="str", environment={})


@pytest.mark.parametrize(
    ("least", "free_bytes", "more_bytes", "has_room"),
    [
        ("100m", None, 0, True),
        ("100m", 100 * MIB, 0, True),
        ("100m", 100 * MIB - 1, 0, False),
        ("100m", 150 * MIB, 50 * MIB, True),
        ("100m", 150 * MIB, 50 * MIB + 1, False),
        ("-1", 0, 10 * MIB, True),
    ],
)
def test_room(least, free_bytes, more_bytes, has_room):
    space = Space.of(least)
    space.note(free_bytes)
    assert space.has_room(more_bytes) is has_room
    if has_room:
        space.check(more_bytes)
        return
    with pytest.raises(StoreUnavailableError, match="nearly full") as caught:
        space.check(more_bytes)
    assert str(free_bytes) not in caught.value.message, "for the log only"
    assert "again" not in caught.value.message, "who answers with it says that"


def test_report():
    space = Space.of("100m")
    assert space.report().is_ok
    space.note(250 * MIB)
    assert (space.report().is_ok, space.report().detail) == (True, "250 MiB free")
    space.note(50 * MIB)
    report = space.report()
    assert (report.name, report.is_ok) == ("disk", False)
    assert report.detail == "50 MiB free, messages are taken from 100 MiB on"


class TestIntake:
    @pytest.fixture
    def actor(self, run, services, jane):
        return run(register(services, jane, ActorDraft(image="abaco_test")))

    @pytest.fixture(autouse=True)
    def full(self, services):
        services.space.note(5)
        services.space._least_bytes = 10

    def test_messages_are_refused_and_leave_nothing(self, run, services, jane, actor):
        for call in (
            messages.post(services, jane, actor, POST),
            messages.post_batch(services, jane, actor, [POST, POST]),
            messages.post_and_wait(services, jane, actor, POST, timeout_s=1),
            uploads.begin(services, 1),
        ):
            with pytest.raises(StoreUnavailableError, match="nearly full"):
                run(call)
        assert run(services.stores.mailbox.count(actor.key)) == 0

    def test_they_are_taken_again_when_there_is_room(self, run, services, jane, actor):
        services.space.note(10)
        run(messages.post(services, jane, actor, POST))
        assert run(services.stores.mailbox.count(actor.key)) == 1

    def test_what_has_room_now_but_would_not_leave_any(self, run, services):
        services.space.note(15)
        with pytest.raises(StoreUnavailableError):
            run(uploads.begin(services, 6))
        run(uploads.begin(services, 5)).abandon()
