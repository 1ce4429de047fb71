"""GET /actors/{id}/executions/{eid}?wait=: an answer as soon as the execution is final."""

import asyncio
import time

import pytest

from tests.http.followed import until
from tests.http.test_messages import site_headers


@pytest.fixture
def actor_id(site):
    return site.register()


@pytest.fixture
def path(site, actor_id):
    return f"/actors/{actor_id}/executions/{site.send(actor_id)}"


def wait_while(site, path, play):
    """Ask, let ``play`` happen meanwhile, and return the reply with its delay after it."""

    async def both():
        asked = asyncio.ensure_future(site.fetch("GET", path))
        await asyncio.sleep(0.05)
        assert not asked.done()
        await play()
        began = time.monotonic()
        reply = await asked
        return reply, time.monotonic() - began

    return site.run(both())


def test_it_answers_when_the_execution_ends(site, actor_id, path):
    async def play():
        claim = await site.player.start(site.key(actor_id), b"x")
        await asyncio.sleep(0.05)
        await site.player.end(claim, exit_code=4)

    reply, delay_s = wait_while(site, f"{path}?wait=30", play)
    assert (reply.result["status"], reply.result[site.name("exit_code")]) == ("COMPLETE", 4)
    assert delay_s < 15


def test_an_error_and_a_purge_are_ends_too(site, actor_id, path):
    async def play():
        await site.fetch("DELETE", f"/actors/{actor_id}/messages")

    assert wait_while(site, f"{path}?wait=30", play)[0].result["status"] == "ERROR"


def test_what_is_final_is_answered_at_once(site, actor_id, path):
    site.run(site.player.run(site.key(actor_id)))
    began = time.monotonic()
    assert site.get(f"{path}?wait=30").result["status"] == "COMPLETE"
    assert time.monotonic() - began < 15


def test_when_the_time_is_up_it_is_as_it_is(site, path):
    began = time.monotonic()
    assert site.get(f"{path}?wait=0.2").result["status"] == "SUBMITTED"
    assert 0.2 <= time.monotonic() - began < 15


@pytest.mark.parametrize("query", ["", "?wait=0", "?other=5"])
def test_without_a_wish_to_wait_it_does_not(site, path, query):
    began = time.monotonic()
    assert site.get(path + query).result["status"] == "SUBMITTED"
    assert time.monotonic() - began < 4  # of the 5 it was asked for


def test_nobody_waits_longer_than_the_limit(make_site):
    site = make_site(max_wait=0)
    actor_id = site.register()
    url = f"/actors/{actor_id}/executions/{site.send(actor_id)}?wait=999999999"
    assert site.get(url).result["status"] == "SUBMITTED"


@pytest.mark.parametrize("value", ["", "x", "-1", "nan", "inf", "1e9", "1.", "9" * 30, "%C2%B2"])
def test_what_is_no_time(site, path, value):
    reply = site.get(f"{path}?wait={value}")
    assert (reply.status, reply.error.startswith("wait: ")) == (400, True)


def test_unknown(site, actor_id):
    assert site.get(f"/actors/{actor_id}/executions/nope?wait=30").status == 404


def test_it_ends_when_the_client_leaves(site, actor_id, path):
    async def leave():
        _, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(f"GET {path}?wait=30 HTTP/1.1\r\n{site_headers(site)}\r\n".encode())
        listeners = site.services.notices._listeners
        await until(lambda: listeners)
        writer.close()
        await writer.wait_closed()
        await until(lambda: not listeners)

    site.run(leave())


def test_many_wait_without_a_cost_to_others(snake):
    actor_id = snake.register()
    url = f"/actors/{actor_id}/executions/{snake.send(actor_id)}?wait=30"

    async def story():
        asked = [asyncio.ensure_future(snake.fetch("GET", url)) for _ in range(8)]
        await asyncio.sleep(0.1)
        await snake.player.run(snake.key(actor_id))
        return await asyncio.gather(*asked)

    assert {reply.result["status"] for reply in snake.run(story())} == {"COMPLETE"}
