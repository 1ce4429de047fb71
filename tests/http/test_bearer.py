"""Bearer tokens over HTTP: our own, those of an issuer elsewhere, and beside other proofs."""

import time
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from abaco.config import Settings
from abaco.domain.caller import ADMIN_ROLE, EVERYONE_ROLE
from abaco.ports.tokens import Identity
from backends.system import SystemClock
from backends.tokens.own import OwnTokens
from backends.tokens.select import key_file, own_tokens
from tests.http.conftest import opened
from tests.http.site import API_SERVER, TENANT, Site, jwt_settings, make_token
from tests.support.issuer import AUDIENCE, Issuer, serve_issuer


def bearer(token: str, scheme: str = "Bearer") -> dict[str, str]:
    return {"Authorization": f"{scheme} {token}"}


def get(site: Site, token: str, path: str = "/actors", **more: str):
    return site.get(path, user=None, headers={**bearer(token), **more})


@pytest.fixture
def own_settings(tmp_path) -> Settings:
    settings = jwt_settings(accept_bearer=True)
    general = settings.general.model_copy(update={"data_dir": tmp_path})
    return settings.model_copy(update={"general": general})


@pytest.fixture
def own(own_settings):
    with opened(own_settings) as site:
        yield site


@pytest.fixture
def keys(own_settings) -> OwnTokens:
    """What the command line signs with."""
    return own_tokens(own_settings, SystemClock())


def token_for(keys, user="jane", tenant=TENANT, roles=(EVERYONE_ROLE,), hours=1.0) -> str:
    identity = Identity(tenant=tenant, user=user, roles=frozenset(roles))
    return keys.mint(identity, timedelta(hours=hours))


class TestOwnTokens:
    def test_make_the_caller_and_choose_the_tenant(self, own, keys):
        actor_id = own.register(user="jane")
        (seen,) = get(own, token_for(keys)).result
        assert (seen["id"], seen["owner"]) == (actor_id, "jane")
        assert get(own, token_for(keys, user="joe")).result == []
        assert get(own, token_for(keys, tenant="OTHER")).result == []

    def test_carry_roles(self, own, keys):
        path = f"/actors/{own.register(user='jane')}/workers"
        for roles, status in (((EVERYONE_ROLE,), 400), ((ADMIN_ROLE,), 200)):
            headers = bearer(token_for(keys, user="root", roles=roles))
            assert own.post(path, user=None, headers=headers).status == status

    def test_never_carry_the_role_of_open_servers(self, own, keys):
        actor_id = own.register(user="jane")
        reply = get(own, token_for(keys, user="joe", roles=["ALL"]), f"/actors/{actor_id}")
        assert "do not have access" in reply.error

    @pytest.mark.parametrize("scheme", ["bearer", "BEARER"])
    def test_the_scheme_in_any_letter_case(self, own, keys, scheme):
        headers = bearer(token_for(keys), scheme)
        assert own.get("/actors", user=None, headers=headers).result == []

    def test_no_jwt_header_is_told_to_containers(self, own, keys):
        actor_id = own.register(user="jane")
        headers = bearer(token_for(keys))
        own.post(
            f"/actors/{actor_id}/messages", user=None, headers=headers, json_body={"message": "m"}
        )
        message = own.run(own.player.claim(own.key(actor_id))).message
        assert (message.username, message.jwt_header) == ("jane", None)

    @pytest.mark.parametrize("user", ["ABACO_WORLD", "ja\nne"])
    def test_some_names_are_nobody(self, own, keys, user):
        assert "names no user" in get(own, token_for(keys, user=user)).error

    def test_a_tenant_that_can_be_none(self, own, keys):
        assert "tenant" in get(own, token_for(keys, tenant="a b")).error

    @pytest.mark.parametrize("token", ["x", "a.b.c", "..", "\xe9", "e30.e30.", "x" * 20_000])
    def test_what_is_no_token(self, own, token):
        reply = get(own, token)
        assert (reply.status, "invalid bearer token" in reply.error) == (400, True)

    def test_another_key(self, own, keys):
        claims = jwt.decode(token_for(keys), options={"verify_signature": False})
        kid = jwt.get_unverified_header(token_for(keys))["kid"]
        other = Ed25519PrivateKey.generate()
        for headers in ({"kid": kid}, {"kid": "other"}, {}):
            forged = jwt.encode(claims, other, algorithm="EdDSA", headers=headers)
            assert "invalid bearer token" in get(own, forged).error
        unsigned = jwt.encode(claims, "", algorithm="none", headers={"kid": kid})
        assert "invalid bearer token" in get(own, unsigned).error

    def test_expired(self, own, keys, own_settings):
        early = OwnTokens(
            keys._keys, lambda: datetime.now(UTC) - timedelta(hours=2), lambda _: API_SERVER
        )
        assert "expired" in get(own, token_for(early)).error

    def test_for_another_server(self, own, keys):
        there = OwnTokens(keys._keys, lambda: datetime.now(UTC), lambda _: "https://elsewhere")
        assert "invalid bearer token" in get(own, token_for(there)).error

    def test_a_new_key_is_known_at_once_and_the_old_one_stays(self, own, keys, own_settings):
        old = token_for(keys)
        assert get(own, old).result == []
        keys._keys.rotate(datetime.now(UTC))
        new = token_for(keys)
        assert jwt.get_unverified_header(new)["kid"] != jwt.get_unverified_header(old)["kid"]
        assert get(own, new).result == []
        assert get(own, old).result == []

    def test_modern_status(self, own_settings):
        web = own_settings.web.model_copy(update={"modern_status": True})
        with opened(own_settings.model_copy(update={"web": web})) as site:
            assert get(site, "x").status == 401

    def test_keys_are_for_the_owner_alone(self, own, own_settings):
        assert key_file(own_settings).stat().st_mode & 0o777 == 0o600


class TestSeveralProofs:
    def test_the_header_of_a_gateway_wins(self, own, keys):
        own.register(user="jane")
        name = f"X-Jwt-Assertion-{TENANT}"
        joe = {name: make_token("joe")}
        assert get(own, token_for(keys), **joe).result == []
        assert "invalid JWT" in get(own, token_for(keys), **{name: "bad"}).error

    def test_a_bad_token_leaves_the_nonce_to_try(self, own, keys):
        actor_id = own.register(user="jane")
        nonce = own.post(f"/actors/{actor_id}/nonces", user="jane").result["id"]
        path = f"/actors/{actor_id}?x-nonce={nonce}"
        assert get(own, "bad", path).result["owner"] == "jane"
        assert get(own, token_for(keys, user="joe"), path).status == 400

    def test_a_good_token_leaves_the_nonce_unused(self, own, keys):
        actor_id = own.register(user="jane")
        path = f"/actors/{actor_id}/nonces"
        nonce = own.post(path, user="jane", json_body={"max_uses": 1}).result["id"]
        assert get(own, token_for(keys), f"/actors/{actor_id}?x-nonce={nonce}").status == 200
        assert own.get(f"{path}/{nonce}", user="jane").result["remaining_uses"] == 1

    def test_where_none_are_accepted_the_header_is_not_looked_at(self, snake):
        assert "no JWT or nonce" in get(snake, "x").error

    def test_the_refusal_names_what_is_accepted(self, own):
        assert "Bearer" in own.get("/actors", user=None).error

    def test_a_server_without_a_gateway(self, own_settings, keys):
        web = own_settings.web.model_copy(update={"apim_public_key": None})
        with opened(own_settings.model_copy(update={"web": web})) as site:
            assert get(site, token_for(keys)).result == []
            assert "apim_public_key" in site.get("/actors").error


@pytest.fixture
def issuer():
    with serve_issuer() as made:
        yield made


@pytest.fixture
def make_foreign(make_site, issuer):
    def make(**web) -> Site:
        known = {"jwks_url": issuer.url, "jwks_issuer": issuer.name, "jwks_audience": AUDIENCE}
        return make_site(**{**known, "tenant_name": TENANT, **web})

    return make


class TestIssuerElsewhere:
    def test_makes_the_caller(self, make_foreign, issuer: Issuer):
        site = make_foreign()
        site.register(user="jane")
        (seen,) = get(site, issuer.token("jane")).result
        assert seen["owner"] == "jane"
        assert get(site, issuer.token("joe")).result == []

    @pytest.mark.parametrize("algorithm", ["RS256", "PS384", "ES256", "EdDSA"])
    def test_algorithms(self, make_foreign, issuer, algorithm):
        issuer.use(algorithm)
        assert get(make_foreign(), issuer.token("jane")).result == []

    @pytest.mark.parametrize(
        "roles", [[ADMIN_ROLE, EVERYONE_ROLE], f"{ADMIN_ROLE},x", f"x {ADMIN_ROLE}"]
    )
    def test_roles_and_tenant_from_claims(self, make_foreign, issuer, roles):
        site = make_foreign(jwks_roles_claim="groups", jwks_tenant_claim="org")
        path = f"/actors/{site.register(user='jane', tenant='ORG-1')}/workers"
        headers = bearer(issuer.token("root", groups=roles, org="ORG-1"))
        assert site.post(path, user=None, headers=headers).status == 200
        assert "org is no text" in get(site, issuer.token("root", groups=roles)).error

    def test_another_claim_names_the_user(self, make_foreign, issuer):
        site = make_foreign(jwks_user_claim="preferred_username")
        site.register(user="jane")
        token = issuer.token("5c3f", preferred_username="jane")
        assert len(get(site, token).result) == 1

    @pytest.mark.parametrize(
        "claims",
        [
            {"iss": "https://elsewhere"},
            {"aud": "another-service"},
            {"aud": None},
            {"exp": None},
            {"exp": 1_000_000_000},
            {"exp": "soon"},
            {"nbf": 9_000_000_000},
            {"nbf": "soon"},
            {"sub": 5},
            {"sub": ""},
            {"sub": None},
            {"iss": "abaco"},
        ],
        ids=str,
    )
    def test_claims_that_prove_nothing(self, make_foreign, issuer, claims):
        assert "invalid bearer token" in get(make_foreign(), issuer.token("jane", **claims)).error

    def test_a_clock_that_is_a_little_off(self, make_foreign, issuer):
        now = int(time.time())
        site = make_foreign()
        assert get(site, issuer.token("jane", exp=now - 10)).result == []
        assert get(site, issuer.token("jane", nbf=now + 10)).result == []

    def test_symmetric_and_unsigned_tokens(self, make_foreign, issuer):
        site = make_foreign()
        claims = issuer.claims("jane")
        for token in (
            jwt.encode(claims, "secret" * 8, algorithm="HS256", headers={"kid": "1"}),
            jwt.encode(claims, "", algorithm="none", headers={"kid": "1"}),
        ):
            assert "algorithm" in get(site, token).error

    def test_keys_are_fetched_once(self, make_foreign, issuer):
        site = make_foreign()
        for _ in range(3):
            get(site, issuer.token("jane"))
        assert issuer.asked == 1

    def test_a_new_key_becomes_known(self, make_foreign, issuer, monkeypatch):
        monkeypatch.setattr("backends.tokens.jwks.FETCH_PAUSE_S", 0.0)
        site = make_foreign()
        old = issuer.token("jane")
        assert get(site, old).result == []
        issuer.rotate()
        assert get(site, issuer.token("jane")).result == []
        assert "no such key" in get(site, old).error

    def test_unknown_keys_do_not_make_us_ask_again_and_again(self, make_foreign, issuer):
        site = make_foreign()
        get(site, issuer.token("jane"))
        issuer.rotate(publish=False)
        for _ in range(20):
            assert "no such key" in get(site, issuer.token("jane")).error
        assert issuer.asked == 1

    def test_old_keys_are_fetched_again(self, make_foreign, issuer, monkeypatch):
        monkeypatch.setattr("backends.tokens.jwks.FETCH_PAUSE_S", 0.0)
        site = make_foreign(jwks_ttl=1)
        get(site, issuer.token("jane"))
        time.sleep(1.1)
        get(site, issuer.token("jane"))
        assert issuer.asked == 2

    def test_an_issuer_that_is_away_is_no_fault_of_the_caller(self, make_foreign, issuer):
        issuer.is_away = True
        reply = get(make_foreign(), issuer.token("jane"))
        assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
        assert "try again later" in reply.envelope["message"]

    @pytest.mark.parametrize("body", [b"", b"[]", b'{"keys": 5}', b'{"keys": [5, {}, {"kty": 1}]}'])
    def test_an_issuer_that_talks_nonsense(self, make_foreign, issuer, body):
        issuer.body = body
        reply = get(make_foreign(), issuer.token("jane"))
        # a set without usable keys is an answer; what is no set is none
        assert reply.status == (400 if body.startswith(b'{"keys": [') else 503)

    def test_known_keys_serve_while_the_issuer_is_away(self, make_foreign, issuer, monkeypatch):
        monkeypatch.setattr("backends.tokens.jwks.FETCH_PAUSE_S", 0.0)
        site = make_foreign(jwks_ttl=1)
        token = issuer.token("jane")
        get(site, token)
        issuer.is_away = True
        time.sleep(1.1)
        assert get(site, token).result == []

    def test_keys_that_are_not_for_signatures_are_passed_over(self, make_foreign, issuer):
        issuer.more_keys = [
            {"kty": "oct", "k": "c2VjcmV0", "kid": "1", "alg": "HS256"},
            {**issuer.public_key(), "kid": "enc", "use": "enc"},
        ]
        site = make_foreign()
        assert get(site, issuer.token("jane")).result == []
        assert "no such key" in get(site, issuer.token("jane", kid="enc")).error

    def test_a_token_that_names_no_key(self, make_foreign, issuer):
        site = make_foreign()
        assert get(site, issuer.token("jane", kid=None)).result == []
        issuer.more_keys = [{**issuer.public_key(), "kid": "second"}]
        site = make_foreign()
        assert "no such key" in get(site, issuer.token("jane", kid=None)).error


class TestGateways:
    def test_others_may_not_say_which_tenant(self, make_site):
        site = make_site(trusted_gateways="10.0.0.0/8, 192.0.2.7")
        assert "127.0.0.1" in site.get("/actors").error

    def test_the_gateway_may(self, make_site):
        assert make_site(trusted_gateways="10.0.0.0/8, 127.0.0.1").get("/actors").result == []

    def test_a_claim_that_must_be_the_tenant(self, make_site):
        site = make_site(jwt_tenant_claim="tenant")
        name = f"X-Jwt-Assertion-{TENANT}"
        for claims, is_fine in (({"tenant": TENANT}, True), ({"tenant": "B"}, False), ({}, False)):
            reply = site.get("/actors", user=None, headers={name: make_token("jane", **claims)})
            assert (reply.status == 200) is is_fine
