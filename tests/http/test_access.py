"""Who may ask: access modes, tokens, tenants, roles."""

import base64
import json
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from abaco.config import Settings
from handlers.auth import ROLE_CLAIM, USER_CLAIM
from tests.http.conftest import opened
from tests.http.site import PRIVATE_KEY, PUBLIC_KEY, TENANT, Site, make_token

NAME = f"X-Jwt-Assertion-{TENANT}"
CLAIMS = {USER_CLAIM: "jane@carbon.super"}


def as_bearer(token: str, name: str = NAME) -> dict[str, str]:
    return {name: token}


def sign(claims, *, alg="RS256", key=PRIVATE_KEY, spelled=None):
    """Sign with RS256 but name the algorithm in the header as told."""
    if spelled is None:
        return jwt.encode(claims, key, algorithm=alg)
    parts = [{"alg": spelled, "typ": "JWT"}, claims]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts]
    signature = key.sign(b".".join(encoded), padding.PKCS1v15(), SHA256())
    return b".".join([*encoded, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


def get(site: Site, token: str, name: str = NAME, path: str = "/actors"):
    return site.get(path, user=None, headers=as_bearer(token, name))


class TestTokens:
    @pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512"])
    def test_algorithms(self, snake, algorithm):
        assert get(snake, sign(CLAIMS, alg=algorithm)).result == []

    @pytest.mark.parametrize("spelled", ["SHA256withRSA", "sha256WITHrsa", "rs256"])
    def test_other_spellings(self, snake, spelled):
        assert get(snake, sign(CLAIMS, spelled=spelled)).result == []

    @pytest.mark.parametrize("spelled", ["none", "None", "HS256", "PS256", "", "RS1", "\u212as256"])
    def test_other_algorithms_are_refused(self, snake, spelled):
        assert "invalid JWT" in get(snake, sign(CLAIMS, spelled=spelled)).error

    def test_an_unsigned_token_is_refused(self, snake):
        assert "invalid JWT" in get(snake, jwt.encode(CLAIMS, "", algorithm="none")).error

    def test_the_public_key_is_no_secret(self, snake):
        token = jwt.encode(CLAIMS, PUBLIC_KEY, algorithm="HS256")
        assert "invalid JWT" in get(snake, token).error

    def test_another_key(self, snake):
        other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        assert "invalid JWT" in get(snake, sign(CLAIMS, key=other)).error

    @pytest.mark.parametrize(
        "token", ["", "x", "a.b.c", "..", "Bearer x", "\xe9.\xe9.\xe9", "e30.e30.e30", "W10.W10.AA"]
    )
    def test_what_is_no_token(self, snake, token):
        reply = get(snake, token)
        assert (reply.status, "JWT" in reply.error) == (400, True)

    @pytest.mark.parametrize(
        "exp",
        [0, -1, 1.5, datetime.now(UTC) - timedelta(seconds=1), "soon", True, [], {}],
    )
    def test_expired_or_no_time(self, snake, exp):
        exp = int(exp.timestamp()) if isinstance(exp, datetime) else exp
        assert "expired" in get(snake, sign({**CLAIMS, "exp": exp}, spelled="RS256")).error

    @pytest.mark.parametrize("exp", [None, 2**40, 2**40 + 0.5, 10**30])
    def test_not_expired(self, snake, exp):
        assert get(snake, sign({**CLAIMS, "exp": exp}, spelled="RS256")).result == []

    def test_other_claims_do_not_matter(self, snake):
        later = datetime.now(UTC) + timedelta(days=1)
        claims = {**CLAIMS, "aud": "x", "iss": "y", "nbf": later, "iat": later, "sub": 5, "jti": 1}
        token = sign(
            json.loads(json.dumps(claims, default=lambda t: t.timestamp())), spelled="RS256"
        )
        assert get(snake, token).result == []

    @pytest.mark.parametrize("user", [None, "", "@carbon", 5, ["jane"], "ja\nne"])
    def test_no_user(self, snake, user):
        assert "names no user" in get(snake, sign({USER_CLAIM: user}, spelled="RS256")).error

    @pytest.mark.parametrize("claims", [[1], "text", None])
    def test_claims_that_are_no_object(self, snake, claims):
        assert "invalid JWT" in get(snake, sign(claims, spelled="RS256")).error

    def test_a_valid_token_makes_a_nonce_unneeded(self, snake):
        path = "/actors/nope/messages?x-nonce=abc"
        assert get(snake, sign(CLAIMS), path=path).status == 404

    @pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer x"}])
    def test_nothing(self, snake, headers):
        reply = snake.get("/actors", user=None, headers=headers)
        assert (reply.status, "no JWT or nonce" in reply.error) == (400, True)

    def test_two_tenants_at_once(self, snake):
        token = make_token("jane")
        headers = {NAME: token, "X-JWT-Assertion-OTHER": token}
        assert "more than one" in snake.get("/actors", user=None, headers=headers).error


class TestTenants:
    @pytest.mark.parametrize(
        ("header", "tenant"),
        [
            ("X-JWT-Assertion-dev-staging", "DEV-STAGING"),
            ("x-jwt-assertion-dev_staging", "DEV-STAGING"),
            ("Assertion", "DEV_STAGING"),
        ],
    )
    def test_from_the_name_of_the_header(self, snake, header, tenant):
        headers = as_bearer(make_token("testuser"), header)
        actor_id = snake.post(
            "/actors", user=None, headers=headers, json_body={"image": "busybox"}
        ).result["id"]
        path = f"/actors/{actor_id}/workers"
        (worker,) = snake.get(path, user=None, headers=headers).result
        assert worker["tenant"] == tenant

    @pytest.mark.parametrize("name", ["X-JWT-Assertion-", "X-JWT-Assertion-" + "t" * 65])
    def test_no_tenant(self, snake, name):
        assert "tenant" in get(snake, make_token("jane"), name).error

    def test_tenants_do_not_see_each_other(self, site):
        here = site.register()
        staging = {"tenant": "DEV-STAGING"}
        assert site.get("/actors", **staging).result == []
        for path in ("", "/state", "/messages", "/executions", "/workers"):
            assert site.get(f"/actors/{here}{path}", **staging).status == 404
        assert site.post(f"/actors/{here}/messages", form={"message": "m"}, **staging).status == 404
        assert site.put(f"/actors/{here}", json_body={"image": "b"}, **staging).status == 404
        assert site.delete(f"/actors/{here}", **staging).status == 404

        there = site.register(**staging)
        site.run(site.player.raise_workers(site.key(there, "DEV-STAGING")))
        (actor,) = site.get("/actors", **staging).result
        assert (actor["id"], actor["status"]) == (there, "READY")
        assert site.get(f"/actors/{there}/executions", **staging).result["executions"] == []
        assert site.get(f"/actors/{there}/messages", **staging).result["messages"] == 0
        (worker,) = site.get(f"/actors/{there}/workers", **staging).result
        for name in ("status", "image", "location", "cid", "tenant", site.name("ch_name")):
            assert worker[name]

    def test_each_has_its_own_address(self, make_site):
        site = make_site(DEV_STAGING_api_server="https://staging.example.org/")
        own = site.get(f"/actors/{site.register(tenant='DEV-STAGING')}", tenant="DEV-STAGING")
        assert own.result["_links"]["self"].startswith("https://staging.example.org/actors/v2/")
        other = site.get(f"/actors/{site.register()}")
        assert other.result["_links"]["self"].startswith("https://api.example.org/actors/v2/")


class TestRoles:
    def test_none_of_ours(self, make_site):
        site = make_site(user_role="Internal/abaco-user")
        reply = get(site, make_token("jane", roles="Internal/everyone,Internal/other"))
        assert (reply.status, "missing required role" in reply.error) == (400, True)

    @pytest.mark.parametrize(
        "role", ["abaco-user", "abaco-limited", "abaco-privileged", "abaco-admin"]
    )
    def test_any_of_ours(self, make_site, role):
        site = make_site(user_role="Internal/abaco-user")
        roles = f"Internal/everyone, Internal/{role}"
        assert get(site, make_token("jane", roles=roles)).result == []

    @pytest.mark.parametrize("roles", ["", ",", None, 5, ["Internal/abaco-admin"]])
    def test_without_roles_everybody_is_everyone(self, snake, roles):
        actor_id = snake.register(user="jane")
        token = sign({USER_CLAIM: "joe", ROLE_CLAIM: roles}, spelled="RS256")
        assert get(snake, token).result == []
        assert "do not have access" in get(snake, token, path=f"/actors/{actor_id}").error

    def test_nobody_claims_all(self, snake):
        actor_id = snake.register(user="jane")
        token = make_token("joe", roles="ALL")
        assert "do not have access" in get(snake, token, path=f"/actors/{actor_id}").error

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("max_workers", 3),
            ("max_cpus", 3_000_000_000),
            ("mem_limit", "3g"),
            ("privileged", True),
            ("use_container_uid", True),
        ],
    )
    def test_limited_users_set_no_privileged_attributes(self, site, name, value):
        body = site.fields(image="b", **{name: value})
        for user in ("testotheruser", "jane"):
            reply = site.post("/actors", json_body=body, user=user)
            assert (reply.status, site.name(name) in reply.error) == (400, True)
        actor_id = site.register(user="jane")
        assert site.put(f"/actors/{actor_id}", json_body=body, user="jane").status == 400


class TestModernStatus:
    def test_refusals(self, make_site):
        site = make_site(modern_status=True)
        actor_id = site.register(user="jane")
        path = f"/actors/{actor_id}"
        assert site.get(path, user=None).status == 401
        assert get(site, "bad").status == 401
        assert site.get(path, user="testotheruser").status == 403
        assert site.get("/actors/admin", user="jane").status == 403
        assert site.post("/actors", json_body={}).status == 400


class TestNoAccessControl:
    @pytest.fixture
    def free(self):
        with opened(Settings(general={"tag": "test-tag"}, web={"tenant_name": "HOME"})) as site:
            yield site

    def test_everybody_may_do_everything(self, free):
        actor_id = free.register(max_workers=3, tenant="HOME")
        actor = free.get(f"/actors/{actor_id}").result
        assert (actor["owner"], actor["max_workers"]) == ("anonymous", 3)
        assert free.post(f"/actors/{actor_id}/workers", json_body={"num": 2}).status == 200
        assert free.get("/actors").result == [actor]
        workers = free.get(f"/actors/{actor_id}/workers").result
        assert {worker["tenant"] for worker in workers} == {"HOME"}

    def test_containers_get_no_jwt_header(self, free):
        actor_id = free.register(tenant="HOME")
        free.send(actor_id)
        message = free.run(free.player.claim(free.key(actor_id, "HOME"))).message
        assert (message.jwt_header, message.username) == (None, "anonymous")

    def test_a_header_chooses_the_tenant(self, free):
        free.register()
        assert free.get("/actors", headers={"Tenant": "OTHER"}).result == []
        assert "tenant" in free.get("/actors", headers={"Tenant": "a b"}).error

    def test_a_nonce_is_refused_by_name(self, free):
        for path in ("/actors", f"/actors/{free.register()}"):
            error = free.get(f"{path}?x-nonce=T_abc").error
            assert "x-nonce" in error
            assert "accept_nonce" in error

    @pytest.mark.parametrize(
        "host",
        ["localhost", "LOCALHOST:8000", "a.localhost", "127.0.0.1:1", "[::1]:8000", "10.0.0.7"],
    )
    def test_names_of_this_machine(self, free, host):
        assert free.get("/actors", headers={"Host": host}).result == []

    @pytest.mark.parametrize(
        "headers",
        [
            {"Host": "rebound.example.org"},
            {"Host": "localhost.example.org:8000"},
            {"Sec-Fetch-Site": "cross-site", "Origin": "https://example.org"},
        ],
    )
    def test_pages_of_other_sites_are_kept_out(self, free, headers):
        for method in ("GET", "POST"):
            reply = free.request(method, "/actors?image=busybox", headers=headers)
            assert (reply.status, "allow_insecure" in reply.error) == (400, True)
        assert free.get("/actors").result == []
        # pages of this very site may, and so may programs that send an origin
        for own in ({"Sec-Fetch-Site": "same-origin"}, {"Origin": "https://example.org"}):
            assert free.get("/actors", headers=own).result == []

    @pytest.mark.parametrize(
        "web",
        [{"allow_insecure": True}, {"default_api_server": "https://rebound.example.org/abaco"}],
    )
    def test_unless_that_is_wanted(self, web):
        with opened(Settings(general={"tag": "test-tag"}, web=web)) as site:
            reply = site.get("/actors", headers={"Host": "rebound.example.org"})
            assert reply.result == []
