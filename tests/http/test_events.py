"""Links and webhooks over HTTP: what may be set, what is shown, and by whom."""

import itertools
import json

import pytest

from abaco.domain.event import MAX_HOPS
from tests.http.site import API_SERVER
from tests.unit.domain.test_webhook import SECRET

CYCLE = "this update would result in a cycle of linked actors"
HOOK = "https://example.org/hook?key=1"


def relink(site, actor_id, link, **options):
    body = site.fields(image="abacosamples/test", link=link)
    return site.put(f"/actors/{actor_id}", json_body=body, **options)


def chain(site, length):
    """Actors, each linked to the one before."""
    made = [site.register()]
    for _ in range(length - 1):
        made.append(site.register(link=made[-1]))
    return made


def test_link_and_webhook_are_shown_as_they_were_sent(site):
    target = site.register()
    body = site.fields(image="busybox", link=target, webhook=HOOK)
    shown = site.post("/actors", json_body=body).result
    assert (shown["link"], shown["webhook"]) == (target, HOOK)
    again = site.get(f"/actors/{shown['id']}").result
    assert (again["link"], again["webhook"]) == (target, HOOK)
    # what a PUT does not name goes back to its default
    changed = relink(site, shown["id"], target).result
    assert (changed["link"], changed["webhook"]) == (target, "")


def test_both_may_come_as_a_form(site):
    target = site.register()
    form = site.fields(image="busybox", link=target, webhook=HOOK, webhook_secret=SECRET)
    shown = site.post("/actors", form=form).result
    assert (shown["link"], shown["webhook"]) == (target, HOOK)


# The graphs of the older Abaco's functional suite.


def test_a_line_is_no_cycle(site):
    made = [site.register() for _ in range(4)]
    for here, there in itertools.pairwise(made):
        assert relink(site, here, there).result["link"] == there


def test_two_that_tell_each_other_are_a_cycle(site):
    one, two = chain(site, 2)
    assert CYCLE in relink(site, one, two).error
    assert site.get(f"/actors/{one}").result["link"] == ""


def test_a_long_way_back_is_a_cycle(site):
    made = chain(site, 8)
    assert CYCLE in relink(site, made[1], made[-1]).error


def test_many_that_tell_one_are_no_cycle(site):
    target = site.register()
    for _ in range(3):
        assert relink(site, site.register(), target).result["link"] == target


def test_an_actor_that_tells_itself_is_a_cycle(site):
    actor = site.register()
    assert CYCLE in relink(site, actor, actor).error


@pytest.mark.parametrize("length", [3, 6])
def test_the_first_of_a_chain_that_had_a_link_is_not_linked_to_the_last(site, length):
    made = chain(site, length)
    relink(site, made[0], site.register())
    assert CYCLE in relink(site, made[0], made[-1]).error


def test_aliases_are_followed(site):
    one, two = chain(site, 2)
    names = site.fields(alias="behind", actor_id=two)
    site.post("/actors/aliases", json_body=names)
    assert CYCLE in relink(site, one, "behind").error
    other = site.register()
    site.post("/actors/aliases", json_body=site.fields(alias="ahead", actor_id=other))
    assert relink(site, one, "ahead").result["link"] == "ahead"
    moved = site.put("/actors/aliases/ahead", json_body=site.fields(actor_id=two))
    assert CYCLE in moved.error
    assert site.name("actor_id") in moved.error
    site.delete("/actors/aliases/ahead")
    assert site.get(f"/actors/{one}").result["link"] == ""
    made = site.post("/actors/aliases", json_body=site.fields(alias="ahead", actor_id=two))
    assert made.status == 200
    assert CYCLE in relink(site, one, "ahead").error


@pytest.mark.parametrize("name", ["nobody", "y" * 300, "a/b", "no-such.alias"])
def test_a_link_leads_to_somebody(site, name):
    body = site.fields(image="busybox", link=name)
    assert "link" in site.post("/actors", json_body=body).error
    assert "link" in relink(site, site.register(), name).error


def test_a_link_needs_the_right_to_execute(site):
    target = site.register(user="testuser")
    body = site.fields(image="busybox", link=target)
    refused = site.post("/actors", json_body=body, user="jane")
    assert "link: you do not have access to this actor" in refused.error
    share = f"/actors/{target}/permissions"
    site.post(share, json_body={"user": "jane", "level": "READ"})
    assert "link" in site.post("/actors", json_body=body, user="jane").error
    site.post(share, json_body={"user": "jane", "level": "EXECUTE"})
    made = site.post("/actors", json_body=body, user="jane").result
    assert made["link"] == target
    site.post(share, json_body={"user": "jane", "level": "NONE"})
    assert "link" in relink(site, made["id"], target, user="jane").error


def test_a_link_stays_in_its_tenant(site):
    target = site.register(tenant="OTHER")
    body = site.fields(image="busybox", link=target)
    assert "there is no actor" in site.post("/actors", json_body=body).error


def test_a_secret_is_accepted_and_never_shown(site, caplog):
    caplog.set_level("DEBUG")
    body = site.fields(image="busybox", webhook=HOOK, webhook_secret=SECRET)
    made = site.post("/actors", json_body=body)
    actor_id = made.result["id"]
    silent = site.fields(image="busybox", webhook=HOOK)
    replies = [
        made,
        site.get(f"/actors/{actor_id}"),
        site.get("/actors"),
        site.put(f"/actors/{actor_id}", json_body=silent),
        site.put(f"/actors/{actor_id}", json_body=body),
    ]
    for reply in replies:
        text = reply.body.decode().lower()
        assert reply.status == 200
        assert "secret" not in text
        assert SECRET.lower() not in text
    assert SECRET not in caplog.text


def test_a_bad_secret_is_refused_without_repeating_it(site):
    body = site.fields(image="busybox", webhook=HOOK, webhook_secret="whsec_opensesame")
    refused = site.post("/actors", json_body=body).error
    assert site.name("webhook_secret") in refused
    assert "opensesame" not in refused


def test_a_webhook_may_be_an_own_inbox(site):
    inbox = f"{API_SERVER}/actors/v2/{site.register()}/messages?x-nonce=DEV_1"
    body = site.fields(image="busybox", webhook=inbox)
    assert site.post("/actors", json_body=body).result["webhook"] == inbox


def test_inner_addresses_are_refused_unless_allowed(make_site):
    site = make_site()
    body = {"image": "busybox", "webhook": "http://10.1.2.3/hook"}
    assert "a webhook must lead to a public address" in site.post("/actors", json_body=body).error


@pytest.mark.parametrize(("sent", "counted"), [("4", 4), ("99999", 0), ("50", MAX_HOPS), ("x", 0)])
def test_an_inbox_goes_on_counting_the_events_behind_a_message(snake, sent, counted):
    actor_id = snake.register()
    snake.send(actor_id, headers={"X-Abaco-Event-Hops": sent})
    claim = snake.run(snake.player.claim(snake.key(actor_id)))
    assert claim.message.hops == counted
    assert "hops" not in json.dumps(snake.get(f"/actors/{actor_id}/executions").result)
