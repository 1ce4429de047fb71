"""What one tenant's actors try to get of another's, and of the server's own network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_run_tokens import Gate
from tests.http.site import PUBLIC_KEY, make_token
from tests.support.engines import ENGINE_PARAMS, EnginePool
from tests.support.receiver import a_receiver
from tests.support.server import running
from tests.support.serving import settings_for

SHELL = "abaco_test_shell"
ECHO = "abaco_test_echo"
SECRET = "correct-horse-battery-staple"
#: what an attacker calls actors, aliases and configs; the braces are filled with a victim's id
NAMES = ("{id}", "{short}", "{long}", "{middle}", "trusted")


class Site(Gate):
    """A server with two tenants; requests come from one of them."""

    tenant = "DEV"

    def raw(self, method: str, path: str, body: Any = None, **named: Any) -> Any:
        named.setdefault("headers", {f"X-Jwt-Assertion-{self.tenant}": make_token(self.user)})
        return super().raw(method, path, body, **named)


@pytest.fixture(scope="module", params=ENGINE_PARAMS)
def site(
    engine_pool: EnginePool,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    with engine_pool.lend(request.param, request.session) as engine:
        directory = tmp_path_factory.mktemp("tenants")
        work = directory / "work"
        for name in ("jane", "eve", "others"):
            (work / name).mkdir(parents=True)
            (work / name / "found").write_text(f"{name}'s file\n")
        settings = {
            **settings_for(engine),
            "web.access_control": "jwt",
            "web.apim_public_key": PUBLIC_KEY,
            "web.user_role": "Internal/everyone",
            "workers.global_mounts": f"{work}/{{username}}:/mine:ro",
            "runtime.start_backoff": "0.1",
            "runtime.max_start_failures": "1",
        }
        server = Site(directory, settings)
        with running(server):
            yield server


@pytest.fixture(autouse=True)
def victims(site: Site) -> Iterator[None]:
    """Begin as jane of DEV."""
    site.tenant, site.user = "DEV", "jane"
    yield
    for tenant in ("DEV", "OTHER"):
        site.tenant, site.user = tenant, "jane"
        for actor in site.call("GET", "/actors"):
            site.call("DELETE", f"/actors/{actor['id']}")


def spelled(actor: str) -> list[str]:
    """Write the names an attacker tries."""
    parts = {"id": actor, "short": actor[:6], "long": f"{actor}x", "middle": actor[3:9]}
    return [name.format(**parts) for name in NAMES]


def environment(site: Site, actor: str, message: str = "x") -> str:
    """Run an actor that prints all it was given."""
    execution = site.send(actor, message)
    assert site.until_final(actor, execution)["exit_code"] == 0
    return site.logs(actor, execution)


def a_secret(site: Site) -> str:
    """Make an actor with an alias and a secret that goes to both."""
    actor = site.register(ECHO, name="trusted")
    site.call("POST", "/actors/aliases", {"alias": "trusted", "actor_id": actor})
    for name, actors in (("by-id", actor), ("by-alias", "trusted")):
        config = {"name": name, "value": f"{SECRET}-{name}", "actors": actors, "is_secret": True}
        site.call("POST", "/actors/configs", config)
    given = environment(site, actor)
    assert f"{SECRET}-by-id" in given
    assert f"{SECRET}-by-alias" in given
    return actor


@pytest.fixture
def victim(site: Site) -> Iterator[str]:
    actor = a_secret(site)
    yield actor
    site.tenant, site.user = "DEV", "jane"
    for name in ("by-id", "by-alias"):
        site.call("DELETE", f"/actors/configs/{name}")


@pytest.mark.parametrize("tenant", ["OTHER", "DEV"])
def test_a_secret_by_names_that_look_like_its_actors(site: Site, victim: str, tenant: str) -> None:
    """An alias of the victim's name in another tenant; parts of its id, in its own as well."""
    names = spelled(victim)
    site.tenant, site.user = tenant, "eve"
    made = []
    try:
        for name in names:
            actor = site.register(ECHO, name=name)
            made.append(actor)
            alias = {"alias": name, "actor_id": actor}
            status, envelope = site.request("POST", "/actors/aliases", alias)
            if name == "trusted":  # in its own tenant it is taken
                assert status == (400 if tenant == "DEV" else 200), envelope
            elif status != 200:
                assert "looks like an id" in envelope["message"]
            given = environment(site, actor)
            assert SECRET not in given, name
            assert f"_abaco_actor_id={actor}\n" in given
    finally:
        for actor in made:
            site.call("DELETE", f"/actors/{actor}")


def test_a_secret_by_asking_for_it(site: Site, victim: str) -> None:
    paths = [
        "/actors/configs",
        "/actors/configs/by-id",
        "/actors/configs/by-alias",
        f"/actors/{victim}",
        f"/actors/search/actors?search={SECRET}",
        f"/actors/search/actors,executions,logs?id.like={victim[:4]}",
        f"/actors/search/logs?logs.like={SECRET}",
        "/actors?limit=100",
        "/actors/aliases",
        "/metrics",
    ]
    for tenant, user in (("OTHER", "eve"), ("OTHER", "jane"), ("DEV", "eve")):
        site.tenant, site.user = tenant, user
        for path in paths:
            answer = site.raw("GET", path)
            assert answer.status < 500, path
            assert SECRET not in answer.data.decode(), path
            # but for the name that was asked for
            assert victim not in answer.data.decode().replace(f"'{victim}'", ""), path
    site.tenant, site.user = "OTHER", "eve"
    for actors in (victim, f"DEV_{victim}", f"DEV/{victim}", f"../{victim}", "*", "%"):
        config = {"name": "mine", "value": "x", "actors": actors, "is_secret": False}
        status, envelope = site.request("POST", "/actors/configs", config)
        assert status in {400, 404}, (actors, envelope)


def test_a_message_to_another_tenants_actor(site: Site, victim: str) -> None:
    before = len(site.executions(victim))
    site.tenant = "OTHER"
    for name in (victim, "trusted", f"DEV_{victim}"):
        for method, path in (
            ("POST", f"/actors/{name}/messages"),
            ("GET", f"/actors/{name}/executions"),
            ("GET", f"/actors/{name}/state"),
            ("POST", f"/actors/{name}/nonces"),
            ("PUT", f"/actors/{name}/permissions"),
            ("DELETE", f"/actors/{name}"),
        ):
            assert site.request(method, path, {"message": "x"})[0] in {400, 404, 405}, (
                method,
                path,
            )
        linked = {"image": ECHO, "link": name}
        assert site.request("POST", "/actors", linked)[0] in {400, 404}
    site.tenant = "DEV"
    assert len(site.executions(victim)) == before


def test_a_config_by_the_name_of_a_variable(site: Site) -> None:
    """Its values stay in the one variable that configs have."""
    actor = site.register(ECHO)
    names = ("_abaco_actor_id", "_abaco_access_token", "_abaco_api_server", "LD_PRELOAD")
    for name in names:
        config = {"name": name, "value": "spoof", "actors": actor, "is_secret": False}
        site.call("POST", "/actors/configs", config)
    query = "&".join(f"{name}=spoof" for name in names[:3])
    execution = site.call(
        "POST", f"/actors/{actor}/messages?{query}", {"message": "x", **dict.fromkeys(names, "s")}
    )["execution_id"]
    site.until_final(actor, execution)
    lines = site.logs(actor, execution).splitlines()
    assert [line for line in lines if "spoof" in line] == [
        line for line in lines if line.startswith("_actor_configs=")
    ]
    assert f"_abaco_actor_id={actor}" in lines
    assert f"_abaco_api_server={site.url}" in lines
    for name in names:
        site.call("DELETE", f"/actors/configs/{name}")


@pytest.mark.parametrize("user", ["../others", "..", ".", "jane/../others", "/etc"])
def test_a_user_whose_name_leads_out_of_a_mount(site: Site, user: str) -> None:
    assert "jane's file" in environment_of_shell(site, "cat /mine/found")
    site.user = user
    status, envelope = site.request("POST", "/actors", {"image": SHELL})
    assert status == 400, envelope
    assert "the mounts configured here cannot be made for this owner" in envelope["message"]


def environment_of_shell(site: Site, script: str) -> str:
    actor = site.register(SHELL)
    execution = site.send(actor, script)
    site.until_final(actor, execution)
    return site.logs(actor, execution)


def test_webhooks_into_the_servers_own_network(site: Site) -> None:
    """Addresses are refused when registered; what a name stands for, when it is to be called."""
    with a_receiver() as receiver:
        port = receiver.port
        written = ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "169.254.169.254"]
        for host in (*written, "localhost", "localhost.", "a@127.0.0.1"):
            hook = {"image": SHELL, "webhook": f"http://{host}:{port}/"}
            status, envelope = site.request("POST", "/actors", hook)
            assert (status, "webhook" in envelope["message"]) == (400, True), (host, envelope)
        own = {"image": SHELL, "webhook": f"{site.url}/metrics"}
        assert site.request("POST", "/actors", own)[0] == 400
        for host in ("127.1", "2130706433", "0x7f000001", "0177.0.0.1"):
            actor = site.register(SHELL, webhook=f"http://{host}:{port}/")
            before = len(given_up(site))
            site.until_final(actor, site.send(actor, "echo ran"))
            site.until(lambda n=before: len(given_up(site)) > n, f"{host} to be given up")
        assert receiver.received == []


def given_up(site: Site) -> list[str]:
    """Return what the log says of events whose webhook was not even tried a second time."""
    return [line for line in site.log().splitlines() if "given up after 1 requests" in line]


def test_the_data_of_the_server_is_closed_to_other_users(site: Site) -> None:
    """A mount by mistake shows a user that is not root nothing of it."""
    data = site.directory / "data"
    for path in (Path(data), data / "ipc", data / "blobs"):
        assert path.stat().st_mode & 0o077 == 0, path
