"""Binary messages: what is checked before the body, and what becomes of the body."""

import asyncio
import hashlib
import json
import os
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from abaco.errors import StoreError, StoreUnavailableError
from abaco.settings import RuntimeSettings
from tests.http.conftest import opened
from tests.http.site import TENANT, jwt_settings, make_token

BINARY = {"Content-Type": "application/octet-stream"}
SYNCHRONOUS = "?_abaco_synchronous=true"


@pytest.fixture
def actor_id(site):
    return site.register()


def files(site):
    """All files below the blobs' directory, by name."""
    directory = Path(site.services.stores.blobs.path("any")).parent
    return {each.name: each for each in directory.iterdir()}


async def until(is_true):
    """Wait for what no notice is given of."""
    async with asyncio.timeout(5):
        while not await is_true():  # noqa: ASYNC110 - threads and files wake nobody
            await asyncio.sleep(0.01)


def until_no_files(site):
    async def is_empty():
        return not files(site)

    site.run(until(is_empty))


def upload(site, actor_id, body=b"\0binary", query="", **options):
    headers = {**BINARY, **options.pop("headers", {})}
    path = f"/actors/{actor_id}/messages{query}"
    return site.post(path, body=body, headers=headers, **options)


def claim(site, actor_id):
    return site.run(site.player.claim(site.key(actor_id)))


class TestAccepted:
    @pytest.mark.parametrize("size", [0, 1, 64 * 1024, 3_000_000])
    def test_the_body_is_a_file_named_after_the_execution(self, site, actor_id, size):
        body = os.urandom(size)
        result = upload(site, actor_id, body).result
        execution_id = result[site.name("execution_id")]
        assert result["msg"] == "binary - omitted"
        assert set(files(site)) == {execution_id}
        assert files(site)[execution_id].read_bytes() == body
        message = claim(site, actor_id).message
        assert message.content_type == "application/octet-stream"
        assert message.body is None
        assert message.blob.size_bytes == size
        assert message.blob.sha256 == hashlib.sha256(body).hexdigest()
        assert message.execution_id == execution_id

    @pytest.mark.parametrize(
        "kind", ["application/octet-stream; charset=x", "APPLICATION/Octet-Stream"]
    )
    def test_by_its_type_without_parameters(self, snake, kind):
        actor_id = snake.register()
        reply = upload(snake, actor_id, headers={"Content-Type": kind})
        assert reply.result["msg"] == "binary - omitted"

    def test_query_parameters_become_variables(self, site, actor_id):
        upload(site, actor_id, query="?A=1&MSG=x&A=2")
        message = claim(site, actor_id).message
        assert dict(message.environment) == {"A": "1"}

    def test_a_message_in_the_query_wins_and_the_body_is_dropped(self, site, actor_id):
        result = upload(site, actor_id, b"x" * 200_000, "?message=hello").result
        assert result["msg"] == "hello"
        assert files(site) == {}
        message = claim(site, actor_id).message
        assert (message.body, message.content_type, message.blob) == ("hello", "str", None)

    def test_by_nonce(self, snake):
        actor_id = snake.register()
        nonce = snake.post(f"/actors/{actor_id}/nonces").result["id"]
        reply = upload(snake, actor_id, query=f"?x-nonce={nonce}", user=None)
        assert reply.result["msg"] == "binary - omitted"

    def test_by_alias_and_with_the_gateways_version(self, snake):
        actor_id = snake.register()
        snake.post("/actors/aliases", json_body={"alias": "box", "actor_id": actor_id})
        for path in ("/actors/box/messages", f"//actors/v2/{actor_id}//messages/"):
            assert snake.post(path, body=b"x", headers=BINARY).status == 200
        assert len(files(snake)) == 2

    def test_synchronous_with_the_first_result(self, site, actor_id):
        async def story():
            posting = asyncio.ensure_future(
                site.fetch(
                    "POST",
                    f"/actors/{actor_id}/messages{SYNCHRONOUS}",
                    body=b"call",
                    headers=BINARY,
                )
            )
            await until(lambda: site.services.stores.mailbox.count(site.key(actor_id)))
            claimed = await site.player.start(site.key(actor_id))
            await site.player.hand_back(claimed, [b"value"])
            return await posting

        reply = site.run(story())
        assert (reply.status, reply.body) == (200, b"value")

    def test_purged_messages_take_their_files_along(self, site, actor_id):
        for _ in range(3):
            upload(site, actor_id)
        assert len(files(site)) == 3
        site.delete(f"/actors/{actor_id}/messages")
        assert files(site) == {}


class TestMemory:
    def test_a_large_body_is_never_in_memory(self, make_site):
        site = make_site(max_content_length=100_000_000)
        actor_id = site.register()
        pieces, piece = 60, os.urandom(1_000_000)
        digest = hashlib.sha256()

        async def produce(write):
            for _ in range(pieces):
                digest.update(piece)
                await write(piece)

        async def send():
            return await site.client.fetch(
                f"http://127.0.0.1:{site.port}/actors/{actor_id}/messages",
                method="POST",
                headers={
                    **BINARY,
                    f"X-Jwt-Assertion-{TENANT}": make_token("testuser"),
                    "Content-Length": str(pieces * len(piece)),
                },
                body_producer=produce,
            )

        tracemalloc.start()
        try:
            response = site.run(send())
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert json.loads(response.body)["result"]["msg"] == "binary - omitted"
        assert peak < 8_000_000
        assert claim(site, actor_id).message.blob.sha256 == digest.hexdigest()

    def test_a_slow_disk_makes_the_client_wait(self, make_site):
        site = make_site()
        actor_id = site.register()
        gate = asyncio.Event()

        class SlowUpload:
            def __init__(self, upload):
                self._upload = upload

            def __getattr__(self, name):
                return getattr(self._upload, name)

            async def write(self, data):
                await gate.wait()
                await self._upload.write(data)

        class SlowBlobs:
            def __getattr__(self, name):
                return getattr(site_blobs, name)

            async def begin(self, name):
                return SlowUpload(await site_blobs.begin(name))

        site_blobs = site.services.stores.blobs
        slow(site, SlowBlobs())
        sent = 0

        async def send():
            nonlocal sent
            reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
            size, piece = 40_000_000, b"x" * 50_000
            writer.write(head(actor_id, size))
            for _ in range(size // len(piece)):
                writer.write(piece)
                await writer.drain()
                sent += len(piece)
            answer = await reader.readuntil(b"\r\n\r\n")
            writer.close()
            return answer

        async def story():
            sending = asyncio.ensure_future(send())
            await asyncio.sleep(0.5)
            before = sent
            gate.set()
            return before, await sending

        before, answer = site.run(story())
        assert before < 20_000_000
        assert answer.startswith(b"HTTP/1.1 200")


def head(actor_id, size, *more, token=None):
    lines = [
        f"POST /actors/{actor_id}/messages HTTP/1.1",
        "Host: h",
        f"X-Jwt-Assertion-{TENANT}: {token or make_token('testuser')}",
        "Content-Type: application/octet-stream",
        *([] if size is None else [f"Content-Length: {size}"]),
        *more,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def slow(site, blobs):
    """Serve with another store of blobs."""
    stores = replace(site.services.stores, blobs=blobs)

    async def serve():
        site.serve(replace(site.services, stores=stores))

    site.run(serve())


class TestRefused:
    def test_without_a_length(self, snake):
        actor_id = snake.register()
        answer = snake.run(
            snake.raw(
                head(actor_id, None, "Transfer-Encoding: chunked", "Connection: close"),
                b"3\r\nabc\r\n0\r\n\r\n",
            )
        )
        assert answer.startswith(b"HTTP/1.1 400")
        assert b"Content-Length" in answer
        assert files(snake) == {}

    def test_without_a_length_and_without_an_end(self, make_site):
        site = make_site(max_body_length=10_000)
        actor_id = site.register()
        answer = site.run(
            site.raw(
                head(actor_id, None, "Transfer-Encoding: chunked", "Connection: close"),
                b"4e20\r\n" + b"x" * 20_000 + b"\r\n0\r\n\r\n",
            )
        )
        assert answer.startswith(b"HTTP/1.1 413")

    def test_above_the_limit(self, make_site):
        site = make_site(max_content_length=100_000, max_body_length=1_000)
        actor_id = site.register()
        assert upload(site, actor_id, b"x" * 100_000).status == 200
        reply = upload(site, actor_id, b"x" * 100_001)
        assert reply.status == 413
        assert "100000" in reply.error
        assert len(files(site)) == 1

    def test_other_bodies_keep_their_own_limit(self, make_site):
        site = make_site(max_content_length=100_000, max_body_length=1_000)
        actor_id = site.register()
        for path in ("/actors", f"/actors/{actor_id}/state", f"/actors/{actor_id}/messages/batch"):
            assert site.post(path, body=b"x" * 1_001, headers=BINARY).status == 413
        path = f"/actors/{actor_id}/messages"
        reply = site.post(path, body=b"x" * 1_001, headers={"Content-Type": "text/plain"})
        assert "1000" in reply.error

    @pytest.mark.parametrize(
        ("options", "query", "words"),
        [
            ({"user": None}, "", "JWT"),
            ({"user": "testotheruser"}, "", "access"),
            ({"headers": {"Idempotency-Key": "x" * 300}}, "", "Idempotency-Key"),
            ({}, "?_abaco_synchronous=maybe", "_abaco_synchronous"),
            ({}, "?A=%zz", "A"),
        ],
    )
    @pytest.mark.parametrize("size", [10, 2_000_000])
    def test_with_the_reason_even_when_the_body_is_long(
        self, site, actor_id, options, query, words, size
    ):
        reply = upload(site, actor_id, b"x" * size, query, **options)
        assert reply.status == 400
        assert words in reply.error
        until_no_files(site)
        assert site.get(f"/actors/{actor_id}/messages").result["messages"] == 0

    def test_at_once_when_the_client_asks_first(self, snake):
        actor_id = snake.register()
        token = make_token("testotheruser")
        request = head(
            actor_id, 1_000_000, "Expect: 100-continue", "Connection: close", token=token
        )
        answer = snake.run(snake.raw(request))
        assert answer.startswith(b"HTTP/1.1 400")
        assert b"100" not in answer.split(b"\r\n")[0]

    def test_at_once_when_there_is_much_to_come(self, snake):
        actor_id = snake.register()
        token = make_token("testotheruser")
        answer = snake.run(snake.raw(head(actor_id, 400_000_000, token=token)))
        assert answer.startswith(b"HTTP/1.1 400")

    def test_an_unknown_actor(self, site):
        assert upload(site, "nobody").status == 404
        assert files(site) == {}

    def test_a_verb_that_is_none_here(self, site, actor_id):
        path = f"/actors/{actor_id}/messages"
        reply = site.request("PUT", path, body=b"x", headers=BINARY)
        assert reply.status == 405

    def test_above_a_rate(self, make_site):
        site = make_site(actor_message_rate=0.001, actor_message_burst=1)
        actor_id = site.register()
        assert upload(site, actor_id).status == 200
        assert upload(site, actor_id).status == 429
        assert len(files(site)) == 1

    def test_more_than_three_wait_for_a_synchronous_one(self, site, actor_id):
        for _ in range(4):
            upload(site, actor_id)
        assert upload(site, actor_id, query=SYNCHRONOUS).status == 400
        assert len(files(site)) == 4

    def test_an_environment_no_container_can_have(self, site):
        actor_id = site.register()
        reply = upload(site, actor_id, query="?A=%00")
        assert reply.status == 400
        until_no_files(site)

    def test_other_types_are_no_binary_messages(self, site, actor_id):
        for kind in ("application/x-octet-stream", "image/png"):
            reply = upload(site, actor_id, headers={"Content-Type": kind})
            assert "cannot be serialized" in reply.error


class TestRepeats:
    KEY = {"Idempotency-Key": "job-1"}

    def test_the_same_body_is_the_same_message(self, site, actor_id):
        first, again = (upload(site, actor_id, headers=self.KEY) for _ in range(2))
        assert first.result == again.result
        assert again.headers["Idempotency-Replayed"] == "true"
        assert set(files(site)) == {first.result[site.name("execution_id")]}

    def test_another_body_is_refused(self, site, actor_id):
        upload(site, actor_id, headers=self.KEY)
        assert upload(site, actor_id, b"other", headers=self.KEY).status == 422
        assert upload(site, actor_id, query="?A=1", headers=self.KEY).status == 422
        assert len(files(site)) == 1

    def test_a_text_of_the_same_bytes_is_another_message(self, site, actor_id):
        upload(site, actor_id, b"hello", headers=self.KEY)
        path = f"/actors/{actor_id}/messages"
        assert site.post(path, json_body={"message": "hello"}, headers=self.KEY).status == 422


class TestAborted:
    @pytest.mark.parametrize("sent", [0, 1, 500_000])
    def test_a_client_that_goes_away_leaves_nothing(self, site, actor_id, sent):
        async def send():
            _, writer = await asyncio.open_connection("127.0.0.1", site.port)
            writer.write(head(actor_id, 1_000_000) + b"x" * sent)
            await writer.drain()

            async def has_begun():
                return files(site)

            await until(has_begun)
            writer.close()
            await writer.wait_closed()

        site.run(send())
        until_no_files(site)
        assert site.get(f"/actors/{actor_id}/messages").result["messages"] == 0

    def test_a_body_that_does_not_come_leaves_nothing(self, make_site, monkeypatch):
        monkeypatch.setattr("handlers.server.BODY_TIMEOUT_S", 0.2)
        site = make_site()
        actor_id = site.register()
        answer = site.run(site.raw(head(actor_id, 1_000) + b"x" * 10))
        assert answer == b""
        until_no_files(site)


class TestFaults:
    def test_no_room_in_mid_upload(self, snake):
        actor_id = snake.register()

        class FullUpload:
            def __init__(self, upload):
                self._upload = upload

            def __getattr__(self, name):
                return getattr(self._upload, name)

            async def write(self, data):
                raise StoreUnavailableError("a file cannot be kept: No space left on device")

        class FullBlobs:
            def __getattr__(self, name):
                return getattr(whole, name)

            async def begin(self, name):
                return FullUpload(await whole.begin(name))

        whole = snake.services.stores.blobs
        slow(snake, FullBlobs())
        reply = upload(snake, actor_id, b"x" * 1_000_000)
        assert reply.status == 503
        assert "No space left" in reply.envelope["message"]
        until_no_files(snake)

    @pytest.mark.parametrize("where", ["begin", "finish"])
    def test_a_broken_disk(self, snake, expected_errors, where):
        actor_id = snake.register()

        async def fail(*_):
            raise StoreError("a file cannot be kept: Input/output error")

        class BrokenUpload:
            def __init__(self, upload):
                self._upload = upload

            def __getattr__(self, name):
                return fail if name == where else getattr(self._upload, name)

        class BrokenBlobs:
            def __getattr__(self, name):
                return getattr(whole, name)

            async def begin(self, name):
                if where == "begin":
                    await fail()
                return BrokenUpload(await whole.begin(name))

        whole = snake.services.stores.blobs
        slow(snake, BrokenBlobs())
        assert upload(snake, actor_id).status == 500
        until_no_files(snake)
        assert snake.get(f"/actors/{actor_id}/messages").result["messages"] == 0


class TestOversizeTexts:
    @pytest.fixture
    def roomy(self):
        runtime = RuntimeSettings(oversize_message="file")
        with opened(jwt_settings().model_copy(update={"runtime": runtime})) as site:
            yield site

    @pytest.mark.parametrize("message", ["x" * 200_000, {"list": ["y" * 1000] * 200}])
    def test_are_kept_as_files(self, roomy, message):
        actor_id = roomy.register()
        path = f"/actors/{actor_id}/messages"
        body = {"message": message} if isinstance(message, str) else message
        result = roomy.post(path, json_body=body).result
        assert result["msg"] == message
        text = message if isinstance(message, str) else repr(message)
        assert files(roomy)[result["execution_id"]].read_text() == text
        stored = claim(roomy, actor_id).message
        assert stored.body is None
        assert stored.blob.size_bytes == len(text)

    def test_and_smaller_ones_are_not(self, roomy):
        actor_id = roomy.register()
        roomy.send(actor_id, "x" * 100_000)
        assert files(roomy) == {}

    def test_also_in_batches_all_or_none(self, roomy):
        actor_id = roomy.register()
        path = f"/actors/{actor_id}/messages/batch"
        batch = [{"message": letter * 200_000} for letter in "abc"]
        ids = roomy.post(path, json_body={"messages": batch}).result["execution_ids"]
        assert set(files(roomy)) == set(ids)
        again = roomy.post(
            path, json_body={"messages": batch}, headers={"Idempotency-Key": "one"}
        ).result["execution_ids"]
        assert len(files(roomy)) == 6
        repeat = roomy.post(path, json_body={"messages": batch}, headers={"Idempotency-Key": "one"})
        assert repeat.result["execution_ids"] == again
        assert len(files(roomy)) == 6

    def test_a_variable_that_is_too_large_is_still_refused(self, roomy):
        actor_id = roomy.register()
        path = f"/actors/{actor_id}/messages"
        body = {"message": "x" * 200_000}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("abaco.domain.context.MAX_ENVIRONMENT_BYTES", 1000)
            reply = roomy.post(f"{path}?A={'y' * 900}", json_body=body)
            assert "environment is too large" in reply.error
            assert roomy.post(path, json_body=body).status == 200
            roomy.delete(path)
        assert files(roomy) == {}

    def test_without_that_option_they_are_refused(self, snake):
        actor_id = snake.register()
        reply = snake.post(f"/actors/{actor_id}/messages", json_body={"message": "x" * 200_000})
        assert reply.status == 400
        assert "message is too large" in reply.error


def test_an_execution_that_failed_keeps_no_file(site, actor_id):
    upload(site, actor_id)
    site.delete(f"/actors/{actor_id}/messages")
    listed = site.get(f"/actors/{actor_id}/executions").result["executions"]
    assert [each["status"] for each in listed] == ["ERROR"]
    assert files(site) == {}
