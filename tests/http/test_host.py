"""What actors get of the host, as clients see it."""

import pytest

from abaco.config import Settings
from tests.http.site import Site, jwt_settings
from tests.support.accounting import serve_accounting

MOUNTS = [
    {"host_path": "/work/05/jane", "container_path": "/work", "mode": "rw"},
    {"host_path": "/data/DEV-DEVELOP", "container_path": "/data", "mode": "ro"},
]


@pytest.fixture
def service():
    with serve_accounting() as service:
        service.users["jane"] = {"uid": 1001, "homeDirectory": "05/jane"}
        service.users["testuser"] = {"uid": 2002, "homeDirectory": "06/testuser"}
        yield service


@pytest.fixture(params=["snake", "camel"])
def make(request, service):
    """Open a server with settings of [workers]."""
    sites = []

    def make(**workers):
        web = jwt_settings(request.param).web
        settings = Settings(
            general={"tag": "test-tag"},
            workers={
                "use_tas_uid": True,
                "global_mounts": "/work/{tasdir}:/work:rw, /data/{tenant_id}:/data:ro",
                **workers,
            },
            identity={"url": service.url, "username": "abaco", "password": "hunter2", "ttl": 0},
        ).model_copy(update={"web": web})
        sites.append(Site(settings))
        sites[-1].open()
        return sites[-1]

    yield make
    for site in sites:
        site.close()


def test_user_and_mounts_are_shown_and_never_spelled_in_camel(make):
    site = make()
    actor_id = site.register(user="jane")
    for actor in (
        site.get(f"/actors/{actor_id}", user="jane").result,
        site.get("/actors", user="jane").result[0],
    ):
        assert (actor["uid"], actor["gid"], actor["tasdir"]) == ("1001", "1001", "05/jane")
        assert actor["mounts"] == MOUNTS


def test_nothing_a_client_sends_changes_them(make):
    site = make()
    sent = site.fields(
        uid="0", gid="0", tasdir="/", mounts=[{"host_path": "/", "container_path": "/h"}]
    )
    actor_id = site.register(user="jane", **sent)
    path = f"/actors/{actor_id}"
    put = site.put(path, json_body={"image": "b", **sent}, user="jane").result
    for actor in (site.get(path, user="jane").result, put):
        assert (actor["uid"], actor["mounts"]) == ("1001", MOUNTS)


def test_an_update_by_somebody_else_keeps_the_owners(make):
    site = make()
    actor_id = site.register(user="jane")
    actor = site.put(f"/actors/{actor_id}", json_body={"image": "other"}).result  # testuser
    assert (actor["owner"], actor["uid"], actor["mounts"]) == ("jane", "1001", MOUNTS)


def test_an_owner_nobody_knows(make):
    site = make()
    reply = site.post("/actors", json_body={"image": "b"}, user="joe")
    assert reply.status == 400
    assert "owner" in reply.error
    assert site.get("/actors", user="joe").result == []


@pytest.mark.usefixtures("expected_errors")
def test_a_service_that_does_not_answer_is_no_fault_of_the_client(make, service):
    site = make()
    actor_id = site.register(user="jane")
    service.status = 500
    for reply in (
        site.post("/actors", json_body={"image": "b"}, user="jane"),
        site.put(f"/actors/{actor_id}", json_body={"image": "other"}, user="jane"),
    ):
        assert reply.status == 503
        assert "accounting service" in reply.envelope["message"]
        assert "hunter2" not in str(reply)
    service.status = None
    assert site.get(f"/actors/{actor_id}", user="jane").result["image"] == "abacosamples/test"
    assert site.put(f"/actors/{actor_id}", json_body={"image": "b"}, user="jane").status == 200


def test_privileged_actors_are_switched_off_by_default(make):
    site = make()
    for user in ("testuser", "testshareuser"):
        reply = site.post("/actors", json_body={"image": "b", "privileged": True}, user=user)
        assert reply.status == 400
        assert "privileged" in reply.error
        assert "allow_privileged" in reply.error


def test_a_privileged_actor_has_mounts_of_its_own(make):
    site = make(allow_privileged=True, privileged_mounts="/etc/abaco:/etc/abaco:ro")
    actor_id = site.register(privileged=True)
    actor = site.get(f"/actors/{actor_id}").result
    assert [mount["host_path"] for mount in actor["mounts"]] == [
        "/work/06/testuser",
        "/data/DEV-DEVELOP",
        "/etc/abaco",
    ]


def test_root_is_refused(make, service):
    service.users["jane"]["uid"] = 0
    reply = make().post("/actors", json_body={"image": "b"}, user="jane")
    assert "least_uid" in reply.error


def test_they_can_be_searched(make):
    site = make()
    actor_id = site.register(user="jane")
    found = site.get("/actors/search/actors?uid=1001", user="jane").result
    assert [item["id"] for item in found["search"]] == [actor_id]
    found = site.get("/actors/search/actors?uid=1002", user="jane").result
    assert found["search"] == []
