"""Long lists: the loop stays free, the JSON is the same, and a part is never taken for all."""

import asyncio
import gc
import json
import socket
import time

import pytest

from abaco.errors import StoreUnavailableError
from handlers import listing, rendering
from tests.http.site import TENANT, make_token
from tests.support import records
from tests.support.stores import enqueue

#: items that make more than one slice
LONG = 2 * listing.SLICE_ITEMS + 7


def fill(site, actor_id, count):
    """Put executions into the store as posted messages would."""

    async def submit():
        key, stores = site.key(actor_id), site.services.stores
        for number in range(count):
            execution = records.an_execution(key, message_received_time=records.at(number))
            await enqueue(stores, execution, records.a_message(execution))

    site.run(submit())


def whole(site, actor_id):
    """Return the answer to a listing, made in one go from what the store holds."""

    async def make():
        key, stores = site.key(actor_id), site.services.stores
        executions = await stores.executions.list_executions(key, limit=10**6)
        actor, totals = await stores.actors.get(key), await stores.executions.totals(key)
        items = [rendering.render_item(execution, site.case) for execution in executions]
        described = rendering.ExecutionListing(actor=actor, totals=totals, pages=no_pages())
        return {
            "message": "Actor executions retrieved successfully.",
            "status": "success",
            "version": "test-tag",
            "result": rendering.render_summary(described, items, site.case),
        }

    return site.run(make())


async def no_pages():
    yield []


def a_request(path, *, method="GET", version="1.1", headers=""):
    token = make_token("testuser")
    return (
        f"{method} {path} HTTP/{version}\r\nHost: h\r\n"
        f"X-Jwt-Assertion-{TENANT}: {token}\r\n{headers}\r\n"
    ).encode()


class TestShape:
    @pytest.mark.parametrize(
        "count", [0, 1, listing.SLICE_ITEMS, listing.SLICE_ITEMS + 1, LONG, 1001]
    )
    def test_the_text_is_the_one_made_whole(self, site, count):
        actor_id = site.register()
        fill(site, actor_id, count)
        reply = site.get(f"/actors/{actor_id}/executions")
        assert reply.body.decode() == json.dumps(whole(site, actor_id))
        assert len(reply.result["executions"]) == count
        is_short = count <= listing.SLICE_ITEMS
        assert ("Content-Length" in reply.headers) == is_short
        assert ("Transfer-Encoding" in reply.headers) != is_short

    def test_actors(self, site, monkeypatch):
        monkeypatch.setattr(listing, "SLICE_ITEMS", 3)
        monkeypatch.setattr("abaco.operations.actors._PAGE", 2)
        ids = [site.register(description=f'"{number}"') for number in range(8)]
        result = site.get("/actors").result
        assert [actor["id"] for actor in result] == ids
        assert result == [site.get(f"/actors/{actor_id}").result for actor_id in ids]

    def test_large_items_make_short_slices(self, snake, monkeypatch):
        monkeypatch.setattr(listing, "SLICE_LENGTH", 1000)
        for _ in range(3):
            snake.register(description="x" * 2000)
        reply = snake.get("/actors")
        assert reply.headers["Transfer-Encoding"] == "chunked"
        assert [len(actor["description"]) for actor in reply.result] == [2000] * 3

    def test_http_1_0_gets_the_length(self, snake):
        actor_id = snake.register()
        fill(snake, actor_id, LONG)
        path = f"/actors/{actor_id}/executions"
        head, _, body = snake.run(snake.raw(a_request(path, version="1.0"))).partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head
        assert b"chunked" not in head
        assert len(json.loads(body)["result"]["executions"]) == LONG

    @pytest.mark.parametrize("count", [1, LONG])
    def test_head_has_no_body_and_the_connection_goes_on(self, snake, count):
        actor_id = snake.register()
        fill(snake, actor_id, count)
        path = f"/actors/{actor_id}/executions"
        head = a_request(path, method="HEAD")
        last = a_request(f"/actors/{actor_id}", headers="Connection: close\r\n")
        answer = snake.run(snake.raw(head + last))
        first, _, rest = answer.partition(b"\r\n\r\n")
        assert first.startswith(b"HTTP/1.1 200 OK")
        assert b"application/json" in first
        assert rest.startswith(b"HTTP/1.1 200 OK")
        assert json.loads(rest.partition(b"\r\n\r\n")[2])["result"]["id"] == actor_id


class TestBreakingOff:
    """The client leaves, stalls, or the store fails when half is out."""

    @pytest.fixture
    def path(self, snake):
        actor_id = snake.register()
        fill(snake, actor_id, LONG)
        return f"/actors/{actor_id}/executions"

    def test_a_failing_store_cuts_the_connection(self, snake, path, monkeypatch):
        monkeypatch.setattr("abaco.operations.executions._PAGE", listing.SLICE_ITEMS + 50)
        self.fail_after(snake, monkeypatch, pages=1)
        answer = snake.run(snake.raw(a_request(path)))
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert b"chunked" in answer
        # neither the end of the chunks nor another answer
        assert not answer.endswith(b"0\r\n\r\n")
        assert answer.count(b"HTTP/1.1 ") == 1
        assert snake.get("/health", user=None).status == 200

    def test_a_store_that_fails_at_once_is_told_as_ever(self, snake, path, monkeypatch):
        self.fail_after(snake, monkeypatch, pages=0)
        reply = snake.get(path)
        assert (reply.status, reply.envelope["status"]) == (503, "error")

    def fail_after(self, site, monkeypatch, *, pages):
        executions = site.services.stores.executions
        read, calls = executions.list_executions, []

        async def fail(*args, **options):
            calls.append(args)
            if len(calls) > pages:
                raise StoreUnavailableError("the store is away")
            return await read(*args, **options)

        monkeypatch.setattr(executions, "list_executions", fail)

    def test_a_client_that_does_not_read_is_hung_up_on(self, snake, path, monkeypatch, caplog):
        monkeypatch.setattr(listing, "SLICE_TIMEOUT_S", 0.2)
        monkeypatch.setattr(rendering, "render_time", lambda _: "t" * 100_000)
        caplog.set_level("DEBUG", logger="handlers.access")
        reply = snake.run(self.stall(snake, path, leaves=False))
        assert b"chunked" in reply
        assert not reply.endswith(b"0\r\n\r\n")
        assert any(" 499 " in record.getMessage() for record in caplog.records)

    def test_a_client_that_leaves_is_no_error(self, snake, path, monkeypatch, caplog):
        monkeypatch.setattr(rendering, "render_time", lambda _: "t" * 100_000)
        caplog.set_level("DEBUG", logger="handlers.access")
        snake.run(self.stall(snake, path, leaves=True))
        assert any(" 499 " in record.getMessage() for record in caplog.records)

    async def stall(self, site, path, *, leaves):
        """Ask, read nothing for a while, and then leave or take what there is."""
        loop = asyncio.get_running_loop()
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            await loop.sock_connect(client, ("127.0.0.1", site.port))
            await loop.sock_sendall(client, a_request(path))
            await asyncio.sleep(0.5)
            answer = b""
            while not leaves:
                try:
                    piece = await loop.sock_recv(client, 65_536)
                except ConnectionResetError:
                    break
                if not piece:
                    break
                answer += piece
        await asyncio.sleep(0.05)
        return answer


def test_the_loop_is_free_while_long_lists_are_written(snake, capsys):
    actor_id = snake.register()
    fill(snake, actor_id, 20_000)
    path = f"/actors/{actor_id}/executions"
    gaps = []

    async def tick():
        last = time.thread_time()
        while True:
            await asyncio.sleep(0.001)
            now = time.thread_time()
            gaps.append(now - last)
            last = now

    async def measure():
        # The clients read in threads and parse later, so that every gap is the server's.
        ticking = asyncio.create_task(tick())
        began = time.thread_time()
        bodies = await asyncio.gather(
            *(asyncio.to_thread(read_all, snake.port, path) for _ in range(3))
        )
        took_s = time.thread_time() - began
        ticking.cancel()
        return bodies, took_s

    gc.collect()
    bodies, took_s = snake.run(measure())
    with capsys.disabled():
        gap_ms = max(gaps) * 1e3
        print(f"\n3 x 20,000 executions: {took_s:.2f} s, longest gap {gap_ms:.0f} ms")  # noqa: T201
    # Of the time that this thread had: one of three that is written at a stretch takes a third.
    assert max(gaps) < max(0.1, took_s / 4)
    expected = whole(snake, actor_id)
    assert len(expected["result"]["executions"]) == 20_000
    for body in bodies:
        assert json.loads(dechunked(body)) == expected


def read_all(port, path):
    """Read an answer to its end on a blocking socket."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(a_request(path, headers="Connection: close\r\n"))
        answer = bytearray()
        while piece := client.recv(1 << 20):
            answer += piece
    return bytes(answer)


def dechunked(answer):
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert b"Transfer-Encoding: chunked" in head
    body = bytearray()
    while True:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            assert rest == b"\r\n"
            return bytes(body)
        body += rest[:length]
        rest = rest[length + 2 :]
