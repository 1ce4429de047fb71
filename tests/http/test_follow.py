"""/actors/{id}/executions/{eid}/logs?follow=true: a log as it grows."""

import asyncio
import resource

import pytest

from abaco.domain.permission import WORLD, Level
from abaco.ports.notices import Topic
from handlers import streams
from tests.http.followed import Event, Followed, no_followers, until
from tests.http.site import TENANT, make_token


@pytest.fixture
def actor_id(site):
    return site.register()


@pytest.fixture
def path(site, actor_id):
    return f"/actors/{actor_id}/executions/{site.send(actor_id)}/logs?follow=true"


def log(events):
    return "".join(event.data["logs"] for event in events if event.name == "log")


def follow(site, path, **headers):
    """Read all events of a log that is complete."""

    async def read():
        followed = await Followed(site, path, **headers).open()
        events = await followed.events()
        await followed.close()
        return events

    return site.run(read())


class TestStream:
    def test_while_it_runs_to_its_end(self, site, actor_id, path):
        async def story():
            followed = await Followed(site, path).open()
            first = await followed.event()
            claim = await site.player.start(site.key(actor_id), b"Contents of MSG: ")
            one = await followed.event()
            await site.player.write(claim, b"hello\nthere\r\n")
            two = await followed.event()
            await site.player.end(claim, exit_code=3)
            rest = await followed.events()
            await followed.close()
            return followed, first, one, two, rest

        followed, first, one, two, rest = site.run(story())
        assert followed.status == 200
        assert "Content-Type: text/event-stream\r\n" in followed.head
        assert "Cache-Control: no-store\r\n" in followed.head
        assert first.comment
        assert one == Event("log", "17", {"logs": "Contents of MSG: "})
        assert two == Event("log", "30", {"logs": "hello\nthere\r\n"})
        execution_id = path.split("/")[4]
        names = ("execution_id", "status", "exit_code")
        values = (execution_id, "COMPLETE", 3)
        data = dict(zip(map(site.name, names), values, strict=True))
        assert rest == [Event("end", "end", data)]

    def test_a_connection_serves_more_requests_after_it(self, site, actor_id, path):
        site.run(site.player.run(site.key(actor_id), b"x"))

        async def twice():
            followed = await Followed(site, path).open()
            await followed.events()
            followed.writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = await followed.reader.readuntil(b"\r\n\r\n")
            await followed.close()
            return answer

        assert site.run(twice()).startswith(b"HTTP/1.1 200 ")

    def test_an_execution_in_error(self, site, actor_id, path):
        claim = site.run(site.player.claim(site.key(actor_id)))
        site.run(site.player.end(claim, error="no image"))
        (end,) = follow(site, path)
        assert end.data["status"] == "ERROR"
        assert end.data[site.name("exit_code")] == "undetermined"

    def test_it_goes_on_where_the_client_was(self, site, actor_id, path):
        site.run(site.player.run(site.key(actor_id), "a€b".encode()))
        assert log(follow(site, path)) == "a€b"
        assert log(follow(site, path, Last_Event_ID="4")) == "b"
        assert log(follow(site, path, Last_Event_ID="5")) == ""

    def test_a_character_that_is_not_whole_yet(self, site, actor_id, path):
        async def story():
            followed = await Followed(site, path).open()
            await followed.event()
            claim = await site.player.start(site.key(actor_id), "5 €".encode()[:-1])
            first = await followed.event()
            await site.player.write(claim, "€".encode()[-1:])
            second = await followed.event()
            await site.player.end(claim)
            await followed.events()
            await followed.close()
            return first, second

        first, second = site.run(story())
        assert (first.data, first.id) == ({"logs": "5 "}, "2")
        assert (second.data, second.id) == ({"logs": "€"}, "5")

    def test_a_lost_place_begins_again(self, site, actor_id, path):
        site.run(site.player.run(site.key(actor_id), b"short"))
        restart, *rest = follow(site, path, Last_Event_ID="99")
        assert restart == Event("restart", "0", {})
        assert log(rest) == "short"

    def test_who_has_seen_the_end_need_not_come_again(self, site, path):
        reply = site.get(path, headers={"Last-Event-ID": "end"})
        assert (reply.status, reply.body) == (204, b"")

    @pytest.mark.parametrize("place", ["x", "-1", "1.5", "9" * 19, "0x1"])
    def test_what_is_no_place(self, site, path, place):
        assert "Last-Event-ID" in site.get(path, headers={"Last-Event-ID": place}).error

    @pytest.mark.parametrize("value", ["", "yes", "2"])
    def test_what_is_neither_yes_nor_no(self, site, path, value):
        assert "follow" in site.get(path.replace("true", value)).error

    def test_no(self, site, path):
        assert site.get(path.replace("true", "false")).result["logs"] == ""

    def test_head_is_the_head_alone(self, site, path):
        reply = site.request("HEAD", path)
        assert (reply.status, reply.body) == (200, b"")
        assert reply.headers["Content-Type"] == "text/event-stream"
        assert site.services.quotas.follower_count == 0

    def test_unknown(self, site, actor_id):
        assert site.get(f"/actors/{actor_id}/executions/nope/logs?follow=1").status == 404

    def test_a_heartbeat_when_nothing_comes(self, site, path, monkeypatch):
        monkeypatch.setattr(streams, "HEARTBEAT_S", 0.01)

        async def listen():
            followed = await Followed(site, path).open()
            comments = [await followed.event() for _ in range(3)]
            await followed.close()
            await no_followers(site)
            return comments

        assert all(event.comment for event in site.run(listen()))


class TestRights:
    """A log that is followed is shown as long as its reader may read it."""

    @pytest.fixture
    def shared(self, site, actor_id, path, monkeypatch):
        """Stream the log for jane, who may read the actor."""
        monkeypatch.setattr(streams, "HEARTBEAT_S", 0.01)
        site.post(f"/actors/{actor_id}/permissions", json_body={"user": "jane", "level": "READ"})
        return Followed(site, path, **{f"X-Jwt-Assertion-{TENANT}": make_token("jane")})

    @pytest.mark.parametrize("is_silent", [True, False])
    def test_who_may_no_longer_read_is_cut_off(self, site, actor_id, shared, is_silent):
        async def story():
            await shared.open()
            claim = await site.player.start(site.key(actor_id), b"for all")
            while (await shared.event()).name != "log":
                pass
            key = site.key(actor_id).shared
            await site.services.stores.permissions.grant(key, "jane", Level.NONE)
            await asyncio.sleep(0.02)
            if not is_silent:
                await site.player.write(claim, b"secret")
            rest = b""
            while piece := await shared.reader.read(1000):
                rest += piece
            await shared.close()
            await no_followers(site)
            return rest

        rest = site.run(story())
        assert b"secret" not in rest
        assert not rest.endswith(b"0\r\n\r\n")

    def test_others_stay(self, site, actor_id, shared):
        async def story():
            await shared.open()
            claim = await site.player.start(site.key(actor_id), b"x")
            key = site.key(actor_id).shared
            await site.services.stores.permissions.grant(key, "jane", Level.NONE)
            await site.services.stores.permissions.grant(key, WORLD, Level.READ)
            await asyncio.sleep(0.05)
            await site.player.end(claim)
            events = await shared.events()
            await shared.close()
            return events

        assert site.run(story())[-1].name == "end"

    def test_an_actor_that_is_gone_hides_no_end(self, site, actor_id, shared):
        async def story():
            await shared.open()
            claim = await site.player.start(site.key(actor_id), b"x")
            await site.services.stores.actors.delete(site.key(actor_id))
            await asyncio.sleep(0.05)
            await site.player.end(claim)
            events = await shared.events()
            await shared.close()
            return events

        assert site.run(story())[-1].name == "end"


class TestEnd:
    def test_when_the_client_leaves(self, site, path, caplog):
        caplog.set_level("INFO", logger="handlers.access")

        async def leave():
            followed = await Followed(site, path).open()
            await followed.event()
            assert site.services.quotas.follower_count == 1
            await followed.close()
            await no_followers(site)

        site.run(leave())
        assert site.services.notices._listeners == {}
        assert " 499 " in caplog.text

    def test_a_store_that_goes_away_cuts_the_stream(self, snake, monkeypatch):
        actor_id = snake.register()
        url = f"/actors/{actor_id}/executions/{snake.send(actor_id)}/logs?follow=1"

        async def story():
            followed = await Followed(snake, url).open()
            await followed.event()
            claim = await snake.player.start(snake.key(actor_id))
            await snake.player.end(claim)
            key = claim.execution.key
            snake.services.stores.executions._state.executions[key.actor].clear()
            snake.services.notices.publish(Topic.EXECUTION, key)
            with pytest.raises(asyncio.IncompleteReadError):
                await followed.events()
            await followed.close()
            await no_followers(snake)

        snake.run(story())

    def test_a_server_that_stops_waits_for_nobody(self, make_site):
        site = make_site()
        actor_id = site.register()
        url = f"/actors/{actor_id}/executions/{site.send(actor_id)}/logs?follow=1"

        async def stop():
            followed = await Followed(site, url).open()
            await followed.event()
            async with asyncio.timeout(20):
                await site.stack.aclose()
                await no_followers(site)
            with pytest.raises(asyncio.IncompleteReadError):
                await followed.events()
            await followed.close()

        site.run(stop())

    def test_their_number_is_limited(self, make_site):
        site = make_site(max_followers=2)
        actor_id = site.register()
        url = f"/actors/{actor_id}/executions/{site.send(actor_id)}/logs?follow=1"

        async def story():
            open_ones = [await Followed(site, url).open() for _ in range(2)]
            refused = await site.fetch("GET", url)
            await open_ones[0].close()
            await until(lambda: site.services.quotas.follower_count < 2)
            again = await Followed(site, url).open()
            for each in (open_ones[1], again):
                await each.close()
            await no_followers(site)
            return refused, again

        refused, again = site.run(story())
        assert refused.status == 429
        assert int(refused.headers["Retry-After"]) > 0
        assert "web.max_followers" in refused.error
        assert again.status == 200

    def test_a_slow_reader_holds_one_piece_in_memory(self, make_site):
        site = make_site(max_log_length=200_000_000)
        actor_id = site.register()
        url = f"/actors/{actor_id}/executions/{site.send(actor_id)}/logs?follow=1"
        claim = site.run(site.player.start(site.key(actor_id), b"x" * 100_000_000))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

        async def dawdle():
            slow = [await Followed(site, url).open(limit=1024) for _ in range(5)]
            await asyncio.sleep(0.5)
            # others are served meanwhile
            assert (await site.fetch("GET", "/health")).status == 200
            for each in slow:
                await each.close()
            await no_followers(site)

        site.run(dawdle())
        grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown_kib < 40_000
        site.run(site.player.end(claim))

    def test_one_that_does_not_read_is_cut_off(self, make_site, monkeypatch):
        monkeypatch.setattr(streams, "READ_TIMEOUT_S", 0.1)
        site = make_site(max_log_length=50_000_000)
        actor_id = site.register()
        url = f"/actors/{actor_id}/executions/{site.send(actor_id)}/logs?follow=1"
        site.run(site.player.start(site.key(actor_id), b"x" * 50_000_000))

        async def stall():
            followed = await Followed(site, url).open(limit=1024)
            await no_followers(site)
            await followed.close()

        site.run(stall())
