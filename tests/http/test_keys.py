"""/actors/admin/encryption-key."""

import asyncio

import pytest

from abaco.errors import VaultError

PATH = "/actors/admin/encryption-key"


@pytest.fixture
def secret(site):
    actor_id = site.register()
    body = site.fields(name="c", value="hunter2", is_secret=True, actors=actor_id)
    return site.post("/actors/configs", json_body=body).result


def rotate(site):
    """Let the agent run until the rotation has ended; return what the server said of it."""

    async def run():
        agent = asyncio.ensure_future(site.rotation.run())
        replies = [(await site.fetch("POST", PATH)).result]
        while replies[-1][site.name("is_running")]:
            replies.append((await site.fetch("GET", PATH)).result)
        agent.cancel()
        await asyncio.gather(agent, return_exceptions=True)
        return replies

    return site.run(run())


def test_from_begin_to_end(site, secret):
    idle = site.fields(is_running=False, reencrypted=0, unreadable=0, old_keys=0, failure="")
    assert site.get(PATH).result == idle
    first, *_, last = rotate(site)
    assert first == idle | site.fields(is_running=True, old_keys=1)
    assert last == idle | site.fields(reencrypted=1)
    shown = site.get("/actors/configs/c").result
    assert shown["value"] != secret["value"]
    assert site.vault.decrypt(shown["value"]) == "hunter2"
    with pytest.raises(VaultError):
        site.vault.decrypt(secret["value"])


def test_a_secret_read_before_and_written_back_while_it_goes_on_stays(snake):
    actor_id = snake.register()
    body = {"name": "c", "value": "hunter2", "is_secret": True, "actors": actor_id}
    before = snake.post("/actors/configs", json_body=body).result["value"]
    other = {**body, "name": "other", "value": "foreign"}
    foreign = snake.post("/actors/configs", json_body=other).result["value"]
    snake.run(snake.vault.add_key())
    for shown in (before, snake.get("/actors/configs/c").result["value"]):
        changed = snake.put("/actors/configs/c", json_body={**body, "value": shown}).result
        assert snake.vault.decrypt(changed["value"]) == "hunter2"
        assert snake.vault.is_current(changed["value"])
    # the ciphertext of another secret is a text like any other: nobody gets to read it
    changed = snake.put("/actors/configs/c", json_body={**body, "value": foreign}).result
    assert snake.vault.decrypt(changed["value"]) == foreign


def test_joining_one_under_way(snake):
    for _ in range(3):
        assert snake.post(PATH).result["old_keys"] == 1


@pytest.mark.parametrize("user", ["jane", "testshareuser", "testotheruser"])
def test_for_administrators_only(site, user):
    for verb in (site.get, site.post):
        assert "administrators" in verb(PATH, user=user).error
    assert site.vault.count_old_keys() == 0


@pytest.mark.usefixtures("expected_errors")
def test_keys_that_cannot_be_written(snake, monkeypatch):
    async def fail():
        raise VaultError("the keys in /x cannot be replaced: No space left on device")

    monkeypatch.setattr(snake.vault, "add_key", fail)
    reply = snake.post(PATH)
    assert reply.status == 500
    assert b"/x" not in reply.body
    assert snake.get(PATH).result["is_running"] is False
