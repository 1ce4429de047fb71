"""The description against the route table, as it is served, and as a page."""

import json
import re

import pytest

from abaco.operations.access import Scope
from abaco.settings import WebSettings
from handlers.description import describe, dialect_of
from handlers.routes import INTERNAL, OPERATING, ROUTES
from tests.support.conformity import NotAsDescribedError, conformity

DOCUMENT = json.loads(describe(dialect_of(WebSettings())))
VERBS = {"get", "put", "post", "delete", "patch", "head", "options", "trace"}


def shape(path):
    """Make a route's pattern and a described path alike: names are left out."""
    return re.sub(r"\{\w+\}|\(\[\^/\]\+\)", "{}", re.sub(r"\(\?!.*?\$\)\)", "", path))


def words(right):
    """Say what a verb needs, as the description does."""
    if right.is_open:
        return "open"
    if right.is_for_admins:
        return "admin"
    if right.scope is Scope.NOTHING:
        return "member"
    also = " and its actor" if right.is_actor_too else ""
    return f"{right.level.name} on the {right.scope}{also}"


def test_it_has_exactly_the_routes_and_verbs_there_are_with_what_they_need():
    declared = {
        (shape(route.path), verb): words(right)
        for route in (*ROUTES, *OPERATING, *INTERNAL)
        for verb, right in route.rights.items()
    }
    described = {
        (shape(path), verb.upper()): operation["x-abaco-level"]
        for path, item in DOCUMENT["paths"].items()
        for verb, operation in item.items()
        if verb in VERBS
    }
    assert described == declared


def test_every_operation_has_a_name_of_its_own_a_summary_and_a_known_tag():
    operations = [
        operation
        for item in DOCUMENT["paths"].values()
        for verb, operation in item.items()
        if verb in VERBS
    ]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    assert all(operation["summary"] for operation in operations)
    assert {tag["name"] for tag in DOCUMENT["tags"]} == {
        tag for operation in operations for tag in operation["tags"]
    }


def test_links_lead_to_operations_and_their_parameters():
    operations = {
        operation["operationId"]: {
            DOCUMENT["components"]["parameters"][each["$ref"].rpartition("/")[2]]["name"]
            if "$ref" in each
            else each["name"]
            for each in (*item.get("parameters", ()), *operation.get("parameters", ()))
        }
        for item in DOCUMENT["paths"].values()
        for verb, operation in item.items()
        if verb in VERBS
    }
    links = re.findall(
        r'"operationId": "(\w+)", "parameters": (\{"[^{}]*\})', json.dumps(DOCUMENT["paths"])
    )
    assert len(links) > 10
    for name, parameters in links:
        assert set(json.loads(parameters)) <= operations[name]


def test_own_objects_in_responses_are_closed():
    """Else the tests would not see what a server sends and the description does not tell."""
    for name, schema in DOCUMENT["components"]["schemas"].items():
        is_asked_for = re.search("Wanted|Target|Registration|Replacement|Update", name)
        if schema.get("type") == "object" and not is_asked_for:
            assert "additionalProperties" in schema, name


class TestServed:
    def test_to_everybody_without_an_envelope(self, site):
        reply = site.get("/openapi.json", user=None)
        assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json")
        assert json.loads(reply.body) == conformity(dialect_of(site.settings.web)).document

    def test_in_the_configured_case(self, site):
        schemas = json.loads(site.get("/openapi.json", user=None).body)["components"]["schemas"]
        assert site.name("use_container_uid") in schemas["Actor"]["properties"]
        assert site.name("max_uses") in schemas["ActorNonceWanted"]["properties"]

    def test_as_configured(self, make_site):
        modern = make_site(modern_status=True, accept_nonce=False)
        document = json.loads(modern.get("/openapi.json", user=None).body)
        assert {"401", "403"} <= set(document["paths"]["/actors"]["get"]["responses"])
        assert "nonce" not in document["components"]["securitySchemes"]


class TestPage:
    def test_it_is_a_page_that_runs_nothing_but_our_own_files(self, snake):
        reply = snake.get("/docs", user=None)
        assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
        policy = dict(
            part.strip().split(" ", 1)
            for part in reply.headers["Content-Security-Policy"].split(";")
        )
        assert policy["default-src"] == "'self'"
        assert policy["img-src"] == "'self' data:"
        assert "unsafe" not in reply.headers["Content-Security-Policy"]
        assert "<script>" not in reply.body.decode()

    def test_nothing_comes_from_elsewhere(self, snake):
        page = snake.get("/docs", user=None).body.decode()
        start = snake.get("/docs/start.js", user=None).body.decode()
        assert not re.search("(?i)https?:|src=.//|href=.//", page + start)
        style = snake.get("/docs/swagger-ui.css", user=None).body.decode()
        assert not re.search(r"(?i)@import|url\((?!['\"]?data:)", style)

    def test_every_file_it_names_is_there(self, snake):
        page = snake.get("/docs", user=None).body.decode()
        names = re.findall(r'(?:src|href)="(/[^"]+)"', page)
        assert len(names) == 4
        for name in names:
            reply = snake.get(name, user=None)
            assert (reply.status, len(reply.body) > 100) == (200, True), name
            assert reply.headers["X-Content-Type-Options"] == "nosniff"
            assert "max-age" in reply.headers["Cache-Control"]

    def test_its_script_draws_from_our_description(self, snake):
        start = snake.get("/docs/start.js", user=None).body.decode()
        assert 'url: "/openapi.json"' in start
        assert "validatorUrl: null" in start

    @pytest.mark.parametrize(
        "name", ["nothing.js", "..%2Fopenapi.yaml", "page.html", "__init__.py"]
    )
    def test_no_other_file_is_served(self, snake, name):
        assert "nothing at this path" in snake.get(f"/docs/{name}", user=None).error


class TestTheJudge:
    """That the tests would notice a server that does not do as described."""

    @pytest.fixture
    def judge(self, snake):
        return conformity(dialect_of(snake.settings.web))

    @pytest.fixture
    def given(self, snake):
        """Return one exchange that is as described."""
        actor_id = snake.register()
        reply = snake.get(f"/actors/{actor_id}/messages")
        return {
            "method": "GET",
            "url": f"/actors/{actor_id}/messages",
            "sent": {},
            "body": b"",
            "status": 200,
            "headers": reply.headers,
            "reply": reply.body,
        }

    def test_it_lets_pass_what_is_as_described(self, judge, given):
        judge.check(**given)

    @pytest.mark.parametrize(
        "change",
        [
            {"status": 418},
            {"status": 500},  # the body is that of a success
            {"url": "/nope"},
            {"method": "PUT"},
            {"headers": {}},
            {"headers": {"Content-Type": "application/json"}},
            {"reply": b"{}"},
        ],
        ids=str,
    )
    def test_it_notices(self, judge, given, change):
        with pytest.raises(NotAsDescribedError):
            judge.check(**{**given, **change})

    @pytest.mark.parametrize("change", [{"more": 1}, {"messages": "1"}, {"_links": {}}], ids=str)
    def test_it_notices_a_wrong_result(self, judge, given, change):
        envelope = json.loads(given["reply"])
        envelope["result"].update(change)
        with pytest.raises(NotAsDescribedError):
            judge.check(**{**given, "reply": json.dumps(envelope).encode()})

    @pytest.mark.parametrize(
        ("kind", "body"),
        [
            ("application/json", b"{}"),
            ("application/json", b'{"image": "UPPER"}'),
            ("application/json", b'{"image": "a", "stateless": "perhaps"}'),
            ("application/x-www-form-urlencoded", b"image=a&logEx=x"),
            ("text/plain", b"image"),
        ],
    )
    def test_it_notices_that_a_wrong_request_was_accepted(self, snake, judge, kind, body):
        reply = snake.post("/actors", json_body={"image": "busybox"})
        exchange = ("POST", "/actors", {"Content-Type": kind}, body, reply.status, reply.headers)
        with pytest.raises(NotAsDescribedError):
            judge.check(*exchange, reply.body)
