"""/actors/{id}/messages: what becomes of a request, and the mailbox."""

import asyncio
import logging

import pytest

from abaco.domain.context import python_text
from abaco.ports.notices import Topic
from tests.http.site import TENANT, make_token

JSON = {"Content-Type": "application/json"}


def stored(site, actor_id):
    """Return the one message that waits, as the worker will get it."""
    return site.run(site.player.claim(site.key(actor_id))).message


class TestPost:
    def test_text_by_form(self, site):
        actor_id = site.register()
        reply = site.post(f"/actors/{actor_id}/messages", form={"message": "testing execution"})
        result, execution_id = reply.result, reply.result[site.name("execution_id")]
        assert result["msg"] == "testing execution"
        api = f"https://api.example.org/actors/v2/{actor_id}"
        assert result["_links"] == {
            "self": f"{api}/executions/{execution_id}",
            "owner": "https://api.example.org/profiles/v2/testuser",
            "messages": f"{api}/messages",
        }
        message = stored(site, actor_id)
        assert (message.body, message.content_type) == ("testing execution", "str")
        assert message.username == "testuser"
        assert message.jwt_header == "X-Jwt-Assertion-Dev-Develop"
        assert message.api_server == "https://api.example.org"

    @pytest.mark.parametrize(
        ("body", "text"),
        [
            ({"message": "hi"}, "hi"),
            ({"message": 5}, "5"),
            ({"message": 0}, "0"),
            ({"message": True}, "True"),
            ({"message": {"a": [None, True]}}, "{'a': [None, True]}"),
            ({"message": ["a", 1]}, "['a', 1]"),
            ({"message": "hi", "other": 1}, "hi"),
        ],
    )
    def test_a_message_parameter_is_text(self, site, body, text):
        actor_id = site.register()
        reply = site.post(f"/actors/{actor_id}/messages", json_body=body)
        assert reply.result["msg"] == text
        message = stored(site, actor_id)
        assert (message.body, message.content_type) == (body["message"], "str")
        assert python_text(message.body) == text

    @pytest.mark.parametrize(
        "body",
        [
            {"key": "value"},
            {"message": ""},
            {"message": None},
            {"message": {}},
            {},
            [],
            [1, "a"],
            "text",
            5,
            1.5,
            True,
        ],
    )
    def test_any_json_value_is_a_message(self, site, body):
        actor_id = site.register()
        reply = site.post(f"/actors/{actor_id}/messages", json_body=body)
        assert reply.result["msg"] == body
        message = stored(site, actor_id)
        assert (message.body, message.content_type) == (body, "application/json")

    def test_json_null_is_a_message_too(self, site):
        actor_id = site.register()
        reply = site.post(f"/actors/{actor_id}/messages", body=b"null", headers=JSON)
        assert reply.result["msg"] is None

    def test_of_any_json_type(self, site):
        actor_id = site.register()
        headers = {"Content-Type": "Application/CloudEvents+JSON; charset=utf-8"}
        site.post(f"/actors/{actor_id}/messages", body=b'{"a": 1}', headers=headers)
        message = stored(site, actor_id)
        assert (message.body, message.content_type) == ({"a": 1}, "application/json")

    @pytest.mark.parametrize(
        "content_type", ["text/plain", "application/x-www-form-urlencoded", "weird"]
    )
    def test_what_reads_as_json_under_another_type(self, site, content_type):
        actor_id = site.register()
        headers = {"Content-Type": content_type}
        site.post(f"/actors/{actor_id}/messages", body=b'{"a": 1}', headers=headers)
        message = stored(site, actor_id)
        assert (message.body, message.content_type) == ({"a": 1}, "str")

    def test_in_the_query(self, site):
        actor_id = site.register()
        site.post(f"/actors/{actor_id}/messages?message=a%20b&foo=bar")
        message = stored(site, actor_id)
        assert (message.body, dict(message.environment)) == ("a b", {"foo": "bar"})

    def test_the_query_is_the_environment(self, site):
        actor_id = site.register()
        query = "foo=1&foo=2&b%C3%BC=%E2%82%AC&empty=&_abaco_username=evil&x=a%2Bb"
        site.post(f"/actors/{actor_id}/messages?{query}", json_body={"message": "m"})
        environment = stored(site, actor_id).environment
        assert {name: environment[name] for name in ("foo", "bü", "empty", "x")} == {
            "foo": "1",
            "bü": "€",
            "empty": "",
            "x": "a+b",
        }

    def test_payload_keys_of_privileged_attributes_are_fine(self, site):
        actor_id = site.register(user="testotheruser")
        body = {"queue": "x", "privileged": True}
        reply = site.post(f"/actors/{actor_id}/messages", json_body=body, user="testotheruser")
        assert reply.result["msg"] == body

    def test_wakes_the_workers(self, site):
        actor_id = site.register()
        with site.services.notices.subscribe(Topic.MAILBOX) as subscription:
            site.send(actor_id)
            assert list(subscription.take()) == [site.key(actor_id)]

    def test_others_may_not(self, site):
        actor_id = site.register(user="jane")
        reply = site.post(
            f"/actors/{actor_id}/messages", form={"message": "m"}, user="testotheruser"
        )
        assert "you do not have access to this actor" in reply.error


class TestMailbox:
    def test_an_idle_actor_has_none(self, site):
        actor_id = site.register()
        result = site.get(f"/actors/{actor_id}/messages").result
        assert result["messages"] == 0
        assert actor_id in result["_links"]["self"]
        assert result["_links"]["self"].endswith("/messages")

    def test_only_those_that_wait_count(self, site):
        actor_id = site.register()
        for _ in range(3):
            site.send(actor_id)
        assert site.get(f"/actors/{actor_id}/messages").result["messages"] == 3
        site.run(site.player.start(site.key(actor_id)))
        assert site.get(f"/actors/{actor_id}/messages").result["messages"] == 2

    def test_purge(self, site):
        actor_id = site.register()
        ids = [site.send(actor_id) for _ in range(3)]
        site.run(site.player.start(site.key(actor_id)))
        result = site.delete(f"/actors/{actor_id}/messages").result
        assert set(result) == {"msg", "_links"}
        assert site.get(f"/actors/{actor_id}/messages").result["messages"] == 0
        statuses = [
            site.get(f"/actors/{actor_id}/executions/{id_}").result["status"] for id_ in ids
        ]
        assert statuses == ["RUNNING", "ERROR", "ERROR"]
        purged = site.get(f"/actors/{actor_id}/executions/{ids[1]}").result
        assert purged[site.name("final_state")]["Error"] == "purged"

    def test_no_put(self, site):
        assert site.put(f"/actors/{site.register()}/messages", form={"message": "m"}).status == 405


class TestSynchronous:
    path = "/actors/{}/messages?_abaco_synchronous=True"

    def both(self, site, actor_id, play, **options):
        """Post, and let ``play`` be the container meanwhile."""

        async def gather():
            options.setdefault("form", {"message": "m"})
            notices = site.services.notices
            with notices.subscribe(Topic.MAILBOX, key=site.key(actor_id)) as subscription:
                posted = asyncio.ensure_future(
                    site.fetch("POST", self.path.format(actor_id), **options)
                )
                await subscription.wait()
            await play()
            return await posted

        return site.run(gather())

    def test_the_log_is_the_answer(self, site):
        actor_id = site.register()
        play = lambda: site.player.run(site.key(actor_id), b"Contents of MSG: m\n")  # noqa: E731
        reply = self.both(site, actor_id, play)
        assert (reply.status, reply.body) == (200, b"Contents of MSG: m\n")
        assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
        assert reply.headers["Content-Security-Policy"].startswith("sandbox")

    def test_no_output_is_an_empty_answer(self, site):
        actor_id = site.register()
        reply = self.both(site, actor_id, lambda: site.player.run(site.key(actor_id)))
        assert (reply.status, reply.body) == (200, b"")

    def test_the_first_result_ends_it_while_the_container_runs(self, site):
        actor_id = site.register()

        async def play():
            claim = await site.player.start(site.key(actor_id), b"log")
            await site.player.hand_back(claim, [b"\0first", b"second"])

        reply = self.both(site, actor_id, play)
        assert (reply.status, reply.body) == (200, b"\0first")
        assert reply.headers["Content-Type"] == "application/octet-stream"

    def test_an_execution_in_error(self, site):
        actor_id = site.register()

        async def play():
            claim = await site.player.start(site.key(actor_id))
            await site.player.end(claim, error="could not be started")

        reply = self.both(site, actor_id, play)
        envelope = reply.envelope
        assert (reply.status, envelope["status"]) == (500, "error")
        assert "could not be started" in envelope["message"]
        execution_id = envelope["result"][site.name("execution_id")]
        assert execution_id in envelope["message"]

    def test_a_purge_ends_it(self, site):
        actor_id = site.register()
        play = lambda: site.fetch("DELETE", f"/actors/{actor_id}/messages")  # noqa: E731
        reply = self.both(site, actor_id, play)
        assert_given_up(site, reply, "purged")

    def test_so_does_the_end_of_the_actor(self, site):
        actor_id = site.register()

        async def play():
            deleted = asyncio.ensure_future(site.fetch("DELETE", f"/actors/{actor_id}"))
            await site.player.retire(site.key(actor_id))
            assert (await deleted).status == 200

        assert_given_up(site, self.both(site, actor_id, play), "actor_deleted")

    def test_nothing_in_time(self, make_site):
        site = make_site(sync_timeout=1)
        actor_id = site.register()
        reply = site.post(self.path.format(actor_id), form={"message": "m"})
        execution_id = reply.envelope["result"]["execution_id"]
        assert (reply.status, execution_id in reply.envelope["message"]) == (504, True)
        assert site.get(f"/actors/{actor_id}/executions/{execution_id}").status == 200

    def test_three_may_wait(self, make_site):
        site = make_site(sync_timeout=1)
        actor_id = site.register()
        for _ in range(3):
            site.send(actor_id)
        assert site.post(self.path.format(actor_id), form={"message": "m"}).status == 504
        assert site.get(f"/actors/{actor_id}/messages").result["messages"] == 4

    def test_refused_when_too_many_wait(self, site):
        actor_id = site.register()
        for _ in range(4):
            site.send(actor_id)
        reply = site.post(self.path.format(actor_id), form={"message": "m"})
        assert reply.status == 400
        assert reply.error
        assert site.get(f"/actors/{actor_id}/messages").result["messages"] == 4

    def test_it_is_released_when_the_client_leaves(self, site, caplog):
        actor_id = site.register()

        async def leave():
            notices = site.services.notices
            with notices.subscribe(Topic.MAILBOX) as subscription:
                _, writer = await asyncio.open_connection("127.0.0.1", site.port)
                headers = site_headers(site)
                writer.write(
                    f"POST {self.path.format(actor_id)}&message=m HTTP/1.1\r\n{headers}"
                    "Content-Length: 0\r\n\r\n".encode()
                )
                await subscription.wait()
                writer.close()
                await writer.wait_closed()
            await ended.wait()

        class Listener(logging.Handler):
            def emit(self, record):
                if " 499 " in record.getMessage():
                    ended.set()

        ended, listener = asyncio.Event(), Listener()
        caplog.set_level("INFO", logger="handlers.access")
        logging.getLogger("handlers.access").addHandler(listener)
        site.run(asyncio.wait_for(leave(), 5))
        logging.getLogger("handlers.access").removeHandler(listener)
        # the execution goes on
        assert site.get(f"/actors/{actor_id}/messages").result["messages"] == 1
        site.run(site.player.run(site.key(actor_id)))

    def test_an_explicit_no(self, site):
        actor_id = site.register()
        path = f"/actors/{actor_id}/messages?_abaco_synchronous=false"
        assert site.post(path, form={"message": "m"}).result["msg"] == "m"


def assert_given_up(site, reply, reason):
    envelope = reply.envelope
    assert (reply.status, envelope["status"]) == (410, "error")
    assert reason in envelope["message"]
    assert envelope["result"][site.name("execution_id")] in envelope["message"]


def site_headers(site):
    """Return the headers of an authenticated request, for bare connections."""
    return f"Host: localhost\r\nX-Jwt-Assertion-{TENANT}: {make_token('testuser')}\r\n"
