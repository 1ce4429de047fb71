"""Bytes that are hardly HTTP: no fault of ours, and the server lives on."""

import asyncio
import json
import tracemalloc

import pytest

from tests.http.site import TENANT, make_token

AUTH = f"Host: localhost\r\nX-Jwt-Assertion-{TENANT}: {make_token('testuser')}\r\n".encode()
POST = b"POST /actors HTTP/1.1\r\n" + AUTH + b"Content-Type: application/json\r\n"
GOOD = b'{"image": "busybox"}'

#: pieces that are written -> statuses that may come back (None: the connection is just closed)
CASES = {
    "no length": ([POST + b"\r\n" + GOOD], {400}),
    "length is no number": ([POST + b"Content-Length: ten\r\n\r\n" + GOOD], {400}),
    "negative length": ([POST + b"Content-Length: -5\r\n\r\n" + GOOD], {400}),
    "length with a plus": ([POST + b"Content-Length: +20\r\n\r\n" + GOOD], {400}),
    "two lengths": ([POST + b"Content-Length: 20\r\nContent-Length: 2\r\n\r\n" + GOOD], {400}),
    "length and chunks": (
        [POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
        {400},
    ),
    "absurd length": ([POST + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n"], {413}),
    "length of thousands of digits": (
        [POST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n"],
        {413},
    ),
    "length of thousands of zeros": (
        [POST + b"Content-Length: " + b"0" * 5000 + b"\r\n\r\n"],
        {400},
    ),
    "announced far above the limit": ([POST + b"Content-Length: 99999999999\r\n\r\n"], {413}),
    "asks before it sends too much": (
        [POST + b"Expect: 100-continue\r\nContent-Length: 2000000\r\n\r\n"],
        {413},
    ),
    "bad chunk size": ([POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"], {400}),
    "bad chunk end": ([POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabXX"], {400}),
    "unknown transfer encoding": ([POST + b"Transfer-Encoding: gzip\r\n\r\n"], {400}),
    "no host": ([b"GET /actors HTTP/1.1\r\n\r\n"], {400}),
    "bad host": ([b"GET /actors HTTP/1.1\r\nHost: a b\r\n\r\n"], {400}),
    "no http": ([b"hello\r\n\r\n"], {400}),
    "http 2 preface": ([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"], {400}),
    "bad version": ([b"GET /actors HTTP/9.9\r\nHost: h\r\n\r\n"], {400}),
    "bad header line": ([b"GET /actors HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n"], {400}),
    "header with nul": ([b"GET /actors HTTP/1.1\r\nHost: h\r\nA: \0\r\n\r\n"], {400}),
    "space in path": ([b"GET /actors /x HTTP/1.1\r\nHost: h\r\n\r\n"], {400}),
    "bytes above ascii in path": (["GET /actörs HTTP/1.1\r\nHost: h\r\n\r\n".encode()], {400, 404}),
    "absolute target": ([b"GET http://h/actors HTTP/1.1\r\n" + AUTH + b"\r\n"], {404}),
    "asterisk target": ([b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"], {404}),
    "too many query fields": (
        [b"GET /actors?" + b"a&" * 5000 + b" HTTP/1.1\r\n" + AUTH + b"\r\n"],
        {400},
    ),
    "oversized header": (
        [b"GET /actors HTTP/1.1\r\nHost: h\r\nA: " + b"x" * 200_000 + b"\r\n\r\n"],
        {None},
    ),
    "tls hello": ([b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 9 + b"\n\r\n"], {400}),
}  # fmt: skip


def statuses(answer: bytes) -> set[int | None]:
    lines = [line for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
    return {int(line.split()[1]) for line in lines} or {None}


async def ask(site, pieces, *, breaks_off=False):
    """Write; return what comes back until the server closes, or is silent for a while."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    answer = b""
    try:
        for piece in pieces:
            writer.write(piece)
        await writer.drain()
        if breaks_off:
            writer.write_eof()
        async with asyncio.timeout(5):
            while piece := await reader.read(65_536):
                answer += piece
                if answer.endswith((b"\r\n\r\n", b"}")) and not breaks_off:
                    break
    except ConnectionError:
        # Cut off while we were still writing, which is an answer too.
        return answer
    finally:
        writer.close()
    return answer


@pytest.mark.parametrize("name", CASES)
def test_refused(snake, name):
    pieces, expected = CASES[name]
    answer = snake.run(ask(snake, pieces))
    assert statuses(answer) <= expected, answer[:300]
    assert snake.get("/actors").result == []


@pytest.mark.parametrize("digits", [30, 5000])
def test_an_absurd_length_is_refused_once_in_an_envelope(snake, digits):
    request = POST + b"Content-Length: " + b"9" * digits + b"\r\n\r\n"
    answer = snake.run(snake.raw(request))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 ")
    envelope = json.loads(body)
    assert (envelope["status"], envelope["result"]) == ("error", None)
    assert "too large" in envelope["message"]


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 100\r\n\r\n" + GOOD,
        b"Content-Length: 20\r\n\r\n{",
        b"Content-Length: 20\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n14\r\n" + GOOD,
        b"Transfer-Encoding: chunked\r\n\r\n14\r\n{",
        b"Content-Length: 2000000\r\n\r\n" + b"x" * 1_500_000,
        b"Expect: 100-continue\r\nContent-Length: 20\r\n\r\n",
    ],
    ids=range(7),
)
def test_a_body_that_breaks_off_does_nothing(snake, rest):
    answer = snake.run(ask(snake, [POST + rest], breaks_off=True))
    assert not statuses(answer) & {200, 500}
    assert snake.get("/actors").result == []


def test_a_body_in_small_pieces(snake):
    async def drip():
        reader, writer = await asyncio.open_connection("127.0.0.1", snake.port)
        writer.write(POST + b"Connection: close\r\nContent-Length: 20\r\n\r\n")
        for byte in GOOD:
            await asyncio.sleep(0.001)
            writer.write(bytes([byte]))
        answer = await reader.read()
        writer.close()
        return answer

    assert statuses(snake.run(drip())) == {200}


def test_requests_in_one_go(snake):
    request = POST + b"Content-Length: 20\r\n\r\n" + GOOD
    last = b"GET /actors HTTP/1.1\r\n" + AUTH + b"Connection: close\r\n\r\n"

    async def send():
        reader, writer = await asyncio.open_connection("127.0.0.1", snake.port)
        writer.write(request * 3 + last)
        answer = await reader.read()
        writer.close()
        return answer

    answer = snake.run(send())
    assert answer.count(b"HTTP/1.1 200 OK") == 4
    assert len(snake.get("/actors").result) == 3


def test_continue(snake):
    async def send():
        reader, writer = await asyncio.open_connection("127.0.0.1", snake.port)
        writer.write(
            POST + b"Connection: close\r\nExpect: 100-continue\r\nContent-Length: 20\r\n\r\n"
        )
        first = await reader.readuntil(b"\r\n\r\n")
        writer.write(GOOD)
        answer = await reader.read()
        writer.close()
        return first, answer

    first, answer = snake.run(send())
    assert first.startswith(b"HTTP/1.1 100")
    assert statuses(answer) == {200}


@pytest.mark.parametrize("is_chunked", [False, True])
def test_what_is_refused_is_not_held(make_site, is_chunked):
    site = make_site(max_body_length=100_000)
    size, piece = 12_000_000, b"x" * 60_000
    head = b"Transfer-Encoding: chunked" if is_chunked else b"Content-Length: %d" % size

    async def send():
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(POST + head + b"\r\n\r\n")
        for _ in range(size // len(piece)):
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece) if is_chunked else piece)
            await writer.drain()
        writer.write(b"0\r\n\r\n" if is_chunked else b"")
        head_of_answer = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        return head_of_answer

    tracemalloc.start()
    try:
        assert statuses(site.run(send())) == {413}
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


def test_an_endless_body_is_cut_off(make_site, monkeypatch):
    monkeypatch.setattr("handlers.intake.DRAIN_BYTES", 200_000)
    site = make_site(max_body_length=10_000)

    async def send():
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        sent = 0
        try:
            while sent < 50_000_000:
                writer.write(b"2710\r\n" + b"x" * 10_000 + b"\r\n")
                await writer.drain()
                sent += 10_000
        except ConnectionError:
            pass
        writer.close()
        del reader
        return sent

    assert site.run(send()) < 50_000_000
    assert site.get("/actors").result == []
