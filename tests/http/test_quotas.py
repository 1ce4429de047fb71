"""429: rates of messages and full mailboxes."""

import pytest

from abaco.config import Settings
from tests.http.conftest import opened
from tests.http.site import jwt_settings


@pytest.fixture
def limited():
    """A server with limits of mailboxes."""
    runtime = {"max_mailbox": 3, "max_tenant_mailbox": 5, "other_max_mailbox": 1}
    settings = Settings(general={"tag": "test-tag"}, runtime=runtime)
    with opened(settings.model_copy(update={"web": jwt_settings().web})) as site:
        yield site


def refused(reply, words):
    assert reply.status == 429
    assert int(reply.headers["Retry-After"]) >= 1
    assert words in reply.error
    return int(reply.headers["Retry-After"])


def post(site, actor_id, query="", **options):
    return site.post(f"/actors/{actor_id}/messages{query}", form={"message": "m"}, **options)


def post_batch(site, actor_id, count):
    body = {"messages": [0] * count}
    return site.post(f"/actors/{actor_id}/messages/batch", json_body=body)


class TestRates:
    def test_of_an_actor(self, make_site):
        site = make_site(actor_message_rate=0.1, actor_message_burst=2)
        actor_id = site.register()
        for _ in range(2):
            assert post(site, actor_id).status == 200
        wait_s = refused(post(site, actor_id), "web.actor_message_rate is 0.1 a second")
        assert 8 <= wait_s <= 10
        assert post(site, site.register()).status == 200
        assert site.get(f"/actors/{actor_id}/messages").result["messages"] == 2

    def test_of_a_tenant(self, make_site):
        site = make_site(tenant_message_rate=0.1, tenant_message_burst=2)
        one, two = site.register(), site.register()
        foreign = site.register(tenant="OTHER")
        assert post(site, one).status == post(site, two).status == 200
        refused(post(site, two), "web.tenant_message_rate")
        assert post(site, foreign, tenant="OTHER").status == 200

    def test_a_batch_counts_as_many(self, make_site):
        site = make_site(actor_message_rate=0.1, actor_message_burst=5)
        actor_id = site.register()
        assert post_batch(site, actor_id, 4).status == 200
        refused(post_batch(site, actor_id, 2), "web.actor_message_rate")
        assert post(site, actor_id).status == 200
        refused(post(site, actor_id), "web.actor_message_rate")

    def test_synchronous_ones_count(self, make_site):
        site = make_site(actor_message_rate=0.1, actor_message_burst=1)
        actor_id = site.register()
        post(site, actor_id)
        reply = post(site, actor_id, "?_abaco_synchronous=true")
        refused(reply, "web.actor_message_rate")

    def test_what_is_malformed_does_not(self, make_site):
        site = make_site(actor_message_rate=0.1, actor_message_burst=1)
        actor_id = site.register()
        for _ in range(5):
            assert site.post(f"/actors/{actor_id}/messages").status == 400
            assert post_batch(site, actor_id, 0).status == 400
        assert post(site, actor_id).status == 200

    def test_by_default_there_is_none(self, snake):
        actor_id = snake.register()
        assert post_batch(snake, actor_id, 1000).status == 200
        assert post_batch(snake, actor_id, 1000).status == 200


class TestMailboxes:
    def test_of_an_actor(self, limited):
        actor_id = limited.register()
        for _ in range(3):
            assert post(limited, actor_id).status == 200
        refused(post(limited, actor_id), "runtime.max_mailbox is 3")
        # what runs makes room
        limited.run(limited.player.start(limited.key(actor_id)))
        assert post(limited, actor_id).status == 200

    def test_of_a_tenant(self, limited):
        one, two = limited.register(), limited.register()
        assert post_batch(limited, one, 3).status == 200
        refused(post_batch(limited, two, 3), "runtime.max_tenant_mailbox is 5")
        assert post_batch(limited, two, 2).status == 200
        refused(post(limited, two), "runtime.max_tenant_mailbox is 5")
        limited.delete(f"/actors/{one}/messages")
        assert post(limited, two).status == 200

    def test_a_tenant_may_have_its_own(self, limited):
        actor_id = limited.register(tenant="OTHER")
        assert post(limited, actor_id, tenant="OTHER").status == 200
        refused(post(limited, actor_id, tenant="OTHER"), "runtime.max_mailbox is 1")

    def test_a_batch_that_does_not_fit_leaves_nothing(self, limited):
        actor_id = limited.register()
        post(limited, actor_id)
        refused(post_batch(limited, actor_id, 3), "runtime.max_mailbox is 3")
        listed = limited.get(f"/actors/{actor_id}/executions").result
        assert (len(listed["executions"]), listed["total_executions"]) == (1, 1)

    def test_one_that_never_fits_is_no_matter_of_time(self, limited):
        reply = post_batch(limited, limited.register(), 4)
        assert (reply.status, "never fit" in reply.error) == (400, True)

    def test_too_many_for_a_synchronous_one_is_still_400(self, make_site):
        site = make_site()
        actor_id = site.register()
        post_batch(site, actor_id, 4)
        assert post(site, actor_id, "?_abaco_synchronous=true").status == 400
