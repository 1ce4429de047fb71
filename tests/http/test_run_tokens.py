"""Tokens of executions at the interface: what they open, for how long, and what they never do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest

from abaco.config import Settings
from abaco.domain.caller import ADMIN_ROLE, EVERYONE_ROLE
from abaco.domain.execution import ExecutionStatus, Outcome
from abaco.domain.ids import ExecutionId
from abaco.errors import StoreUnavailableError
from abaco.ports.token_provider import TokenRequest
from abaco.ports.tokens import Identity
from backends.system import SystemClock
from backends.tokens.local_jwt import LocalJwt
from backends.tokens.select import own_tokens
from tests.http.conftest import opened
from tests.http.site import TENANT, Site, jwt_settings, make_token

ENDED = "its execution has ended"


def settings_in(directory: Path, runtime: dict | None = None, **web) -> Settings:
    settings = jwt_settings(**web)
    general = settings.general.model_copy(update={"data_dir": directory})
    chosen = settings.runtime.model_copy(update=runtime or {})
    return settings.model_copy(update={"general": general, "runtime": chosen})


class Given:
    """A server, and the tokens its executions are given."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._own = own_tokens(site.settings, SystemClock())

    def token(self, claim) -> str:
        """Make the token for a run."""
        request = TokenRequest(
            tenant=claim.actor.tenant,
            owner=claim.actor.owner,
            actor_id=claim.execution.actor_id,
            execution_id=claim.execution.id,
            worker_id=claim.execution.worker_id,
            attempt=claim.execution.attempt,
        )
        with ThreadPoolExecutor(1) as thread:
            provider = LocalJwt(self._own, self.site.settings, lambda: datetime.now(UTC), thread)
            return self.site.run(provider.acquire(request)).value

    def start(self, owner: str = "jane", tenant: str = TENANT, **attributes):
        """Run a message of a new actor; return the actor's id, the claim and the token."""
        actor_id = self.site.register(user=owner, tenant=tenant, token=True, **attributes)
        self.site.send(actor_id, user=owner, tenant=tenant)
        claim = self.site.run(self.site.player.start(self.site.key(actor_id, tenant)))
        return actor_id, claim, self.token(claim)

    def end(self, claim) -> None:
        self.site.run(self.site.player.end(claim))

    def ask(self, token: str, path: str = "/actors", method: str = "GET", **options):
        headers = {"Authorization": f"Bearer {token}"}
        return self.site.request(method, path, user=None, headers=headers, **options)

    def person(self, user: str = "jane", role: str = EVERYONE_ROLE) -> str:
        """Sign as the command line does."""
        identity = Identity(tenant=TENANT, user=user, roles=frozenset({role}))
        return self._own.mint(identity, timedelta(hours=1))


@pytest.fixture
def make(tmp_path):
    with ExitStack() as stack:

        def make_it(runtime: dict | None = None, **web) -> Given:
            site = stack.enter_context(opened(settings_in(tmp_path, runtime, **web)))
            return Given(site)

        yield make_it


@pytest.fixture
def given(make) -> Given:
    return make()


class TestWhileTheExecutionRuns:
    def test_the_token_is_its_owner(self, given):
        actor_id, _, token = given.start(stateless=False)
        other = given.site.register(user="jane")
        assert {seen["id"] for seen in given.ask(token).result} == {actor_id, other}
        path = f"/actors/{actor_id}/state"
        given.ask(token, path, "POST", json_body={"n": 1})
        assert given.site.get(path, user="jane").result["state"] == {"n": 1}

    def test_from_the_claim_on(self, given):
        actor_id = given.site.register(user="jane", token=True)
        given.site.send(actor_id, user="jane")
        claim = given.site.run(given.site.player.claim(given.site.key(actor_id)))
        assert given.ask(given.token(claim)).status == 200

    def test_whoever_sent_the_message(self, given):
        actor_id = given.site.register(user="jane", token=True)
        path = f"/actors/{actor_id}/permissions"
        given.site.post(path, user="jane", json_body={"user": "joe", "level": "EXECUTE"})
        given.site.send(actor_id, user="joe")
        claim = given.site.run(given.site.player.start(given.site.key(actor_id)))
        reply = given.ask(given.token(claim), f"/actors/{actor_id}")
        assert reply.result["owner"] == "jane"

    def test_the_actors_of_others_stay_closed(self, given):
        _, _, token = given.start(owner="jane")
        other = given.site.register(user="joe")
        assert "do not have access" in given.ask(token, f"/actors/{other}").error
        assert given.ask(token, f"/actors/{other}", "DELETE").status == 400

    def test_other_tenants_do_too(self, given):
        _, _, token = given.start(owner="jane")
        other = given.site.register(user="jane", tenant="OTHER")
        assert given.ask(token, f"/actors/{other}").status == 404
        assert given.site.get("/actors", user=None, headers={"Tenant": "OTHER"}).status == 400

    def test_an_administrators_actor_is_no_administrator(self, given):
        _, _, token = given.start(owner="testuser")
        assert "administrators" in given.ask(token, "/actors/admin").error
        body = {"image": "abacosamples/test", "privileged": True}
        assert given.ask(token, "/actors", "POST", json_body=body).status == 400

    def test_a_message_sent_with_it_is_the_owners(self, given):
        actor_id, claim, token = given.start()
        given.ask(token, f"/actors/{actor_id}/messages", "POST", json_body={"message": "m"})
        given.end(claim)
        message = given.site.run(given.site.player.claim(given.site.key(actor_id))).message
        assert (message.username, message.jwt_header) == ("jane", None)

    @pytest.mark.parametrize("accept_bearer", [True, False])
    def test_with_or_without_tokens_of_people(self, make, accept_bearer):
        given = make(accept_bearer=accept_bearer)
        _, _, token = given.start()
        assert given.ask(token).status == 200
        assert (given.ask(given.person()).status == 200) is accept_bearer


class TestAfterTheEnd:
    def test_it_is_dead(self, given):
        _, claim, token = given.start()
        assert given.ask(token).status == 200
        given.end(claim)
        assert ENDED in given.ask(token).error
        assert ENDED in given.ask(token, "/actors", "POST", json_body={"image": "x"}).error

    def test_also_after_an_error(self, given):
        _, claim, token = given.start()
        given.site.run(given.site.player.end(claim, error="broken"))
        assert ENDED in given.ask(token).error

    def test_also_when_the_actor_is_gone(self, given):
        actor_id, claim, token = given.start()
        given.end(claim)
        given.site.run(given.site.services.stores.actors.delete(given.site.key(actor_id)))
        assert "invalid bearer token" in given.ask(token).error

    def test_a_lost_run_takes_its_token_with_it(self, given):
        _, claim, token = given.start()
        key, attempt = claim.execution.key, claim.execution.attempt
        assert given.site.run(given.site.services.stores.mailbox.release(key, attempt, lost=True))
        assert ENDED in given.ask(token).error
        again = given.site.run(given.site.player.start(key.actor))
        assert again.execution.key == key
        assert ENDED in given.ask(token).error
        assert given.ask(given.token(again)).status == 200

    def test_a_purged_message_too(self, given):
        _, claim, token = given.start()
        key = claim.execution.key
        given.site.run(given.site.services.stores.mailbox.release(key, 1, lost=False))
        outcome = Outcome(status=ExecutionStatus.ERROR, finish_time=datetime.now(UTC))
        given.site.run(given.site.services.stores.mailbox.purge(key.actor, outcome))
        assert ENDED in given.ask(token).error

    def test_where_tokens_are_not_revoked_it_lives_on(self, make):
        given = make({"revoke_on_finish": False})
        _, claim, token = given.start()
        given.end(claim)
        assert given.ask(token).status == 200

    def test_a_nonce_beside_it_is_tried(self, given):
        actor_id, claim, token = given.start()
        nonce = given.site.post(f"/actors/{actor_id}/nonces", user="jane").result["id"]
        given.end(claim)
        assert given.ask(token, f"/actors/{actor_id}?x-nonce={nonce}").status == 200

    def test_modern_status(self, make):
        given = make(modern_status=True)
        _, claim, token = given.start()
        given.end(claim)
        assert given.ask(token).status == 401


class TestScopeActor:
    @pytest.fixture
    def given(self, make) -> Given:
        return make({"token_scope": "actor"})

    def test_the_actor_itself_is_open(self, given):
        actor_id, _, token = given.start(stateless=False)
        given.ask(token, f"/actors/{actor_id}/state", "POST", json_body={"n": 1})
        assert given.ask(token, f"/actors/{actor_id}").result["state"] == {"n": 1}
        body = {"message": "next"}
        assert (
            given.ask(token, f"/actors/{actor_id}/messages", "POST", json_body=body).status == 200
        )

    def test_also_by_its_alias(self, given):
        actor_id, _, token = given.start()
        body = given.site.fields(alias="me", actor_id=actor_id)
        given.site.post("/actors/aliases", user="jane", json_body=body)
        assert given.ask(token, "/actors/me").result["id"] == actor_id
        assert "do not have access" in given.ask(token, "/actors/aliases/me").error

    def test_nothing_else_of_the_owner_is(self, given):
        actor_id, _, token = given.start()
        other = given.site.register(user="jane")
        for path in (f"/actors/{other}", f"/actors/{other}/executions"):
            assert "do not have access" in given.ask(token, path).error
        body = {"image": "abacosamples/test", "link": other}
        assert given.ask(token, f"/actors/{actor_id}", "PUT", json_body=body).status == 400
        for path, method, json_body in (
            ("/actors", "GET", None),
            ("/actors", "POST", {"image": "x"}),
            ("/actors/aliases", "GET", None),
            ("/actors/configs", "GET", None),
        ):
            reply = given.ask(token, path, method, json_body=json_body)
            assert f"good for the actor {actor_id} alone" in reply.error, path

    def test_a_nonce_made_with_it_opens_no_more(self, given):
        actor_id, _, token = given.start()
        nonce = given.ask(token, f"/actors/{actor_id}/nonces", "POST").result["id"]
        other = given.site.register(user="jane")
        assert given.site.get(f"/actors/{actor_id}?x-nonce={nonce}", user=None).status == 200
        assert given.site.get(f"/actors/{other}?x-nonce={nonce}", user=None).status == 400


class TestForgeries:
    def test_another_run_written_into_it(self, given):
        _, _, token = given.start()
        claims = jwt.decode(token, options={"verify_signature": False})
        claims["sub"] = "testuser"
        forged = jwt.encode(claims, "x" * 32, algorithm="HS256", headers={"kid": "1"})
        assert "invalid bearer token" in given.ask(forged).error

    @pytest.mark.parametrize(
        "run",
        [5, "run", {}, {"attempt": "1"}, {"attempt": 1, "actor": 5}, {"attempt": 1, "actor": "a"}],
        ids=str,
    )
    def test_a_claim_that_names_no_run(self, given, run):
        given.start()
        name, key = given._own._keys.signing_key()
        token = given.person()
        claims = {**jwt.decode(token, options={"verify_signature": False}), "abaco": run}
        signed = jwt.encode(claims, key, algorithm="EdDSA", headers={"kid": name})
        assert "invalid bearer token" in given.ask(signed).error

    def test_a_run_that_never_was(self, given):
        _, claim, _ = given.start()
        execution = claim.execution
        moved = replace(execution, id=ExecutionId("nowhere"))
        token = given.token(replace(claim, execution=moved))
        assert "its execution is gone" in given.ask(token).error

    def test_tokens_of_runs_where_none_are_made(self, make):
        made_with = make()
        _, _, token = made_with.start()
        assert "no JWT or nonce" in make({"token_provider": "none"}).ask(token).error
        elsewhere = make({"token_provider": "none"}, accept_bearer=True)
        assert "runtime.token_provider" in elsewhere.ask(token).error

    def test_a_server_that_never_made_keys(self, make, tmp_path):
        given = make()
        _, _, token = given.start()
        with opened(settings_in(tmp_path / "elsewhere")) as site:
            reply = site.get("/actors", user=None, headers={"Authorization": f"Bearer {token}"})
            assert "no key of this server" in reply.error
        assert not (tmp_path / "elsewhere").exists()


class TestOpenServers:
    @pytest.fixture
    def given(self, make) -> Given:
        return make(access_control="none", tenant_name=TENANT)

    def test_the_token_counts_for_what_it_is_worth(self, given):
        _, claim, token = given.start()
        assert "administrators" in given.ask(token, "/actors/admin").error
        given.end(claim)
        assert ENDED in given.ask(token).error

    def test_it_knows_its_tenant(self, given):
        headers = {"Tenant": "OTHER"}
        fields = {"image": "abacosamples/test"}
        made = given.site.post("/actors", user=None, json_body=fields, headers=headers)
        actor_id = made.result["id"]
        path = f"/actors/{actor_id}/messages"
        given.site.post(path, user=None, json_body={"message": "m"}, headers=headers)
        claim = given.site.run(given.site.player.start(given.site.key(actor_id, "OTHER")))
        (seen,) = given.ask(given.token(claim)).result
        assert seen["id"] == actor_id

    @pytest.mark.parametrize("token", ["x", "a.b.c", "e30.e30.", make_token("jane")])
    def test_whatever_else_stands_there_is_not_looked_at(self, given, token):
        assert given.ask(token).result == []

    def test_nor_is_a_persons(self, given):
        assert given.ask(given.person("joe", ADMIN_ROLE)).result == []


def test_a_store_that_is_away_is_no_proof(given, monkeypatch):
    _, _, token = given.start()

    async def get(self, key):
        raise StoreUnavailableError("the store is away")

    monkeypatch.setattr(type(given.site.services.stores.executions), "get", get)
    assert given.ask(token).status == 503


def test_the_bad_token_is_not_repeated(given, caplog):
    _, claim, token = given.start()
    given.end(claim)
    reply = given.ask(token)
    assert token not in reply.error
    assert token not in caplog.text
