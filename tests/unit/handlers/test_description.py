"""The description: what its files say in short is written out for each configuration."""

import base64
import json

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from openapi_spec_validator import OpenAPIV31SpecValidator

import abaco
from abaco.errors import ConfigError
from abaco.settings import WebSettings
from handlers import description
from handlers.description import Dialect, describe, dialect_of

GUARDED = Dialect("snake", schemes=("gateway", "nonce"))
EVERYTHING = GUARDED._replace(schemes=("gateway", "bearer", "nonce"))
CAMEL = GUARDED._replace(case="camel")
DIALECTS = [
    Dialect(case, is_modern, schemes, is_guarded)
    for case in ("snake", "camel")
    for is_modern in (False, True)
    for schemes, is_guarded in ((EVERYTHING.schemes, True), (("nonce",), False), ((), False))
]

#: a file in small
PART = """
openapi: 3.1.0
info: {}
paths:
  /things/{thing}:
    put:
      operationId: putThing
      x-abaco-level: UPDATE on the actor
      parameters:
        - {name: how_many, in: query, x-abaco-spelled: true}
        - {name: as_it_is, in: query}
      requestBody: {x-abaco-parameters: {$ref: "#/components/schemas/Wanted"}}
      responses:
        "200":
          x-abaco-result: {$ref: "#/components/schemas/Thing"}
          links:
            itself: {operationId: x, parameters: {thing: $response.body#/result/thing_id}}
        "409": {description: Mine., x-abaco-error: {type: integer}}
  /things:
    get: {operationId: a, x-abaco-level: member, responses: {"200": {description: ""}}}
  /health:
    get: {operationId: b, x-abaco-level: open, responses: {"200": {description: ""}}}
components:
  securitySchemes: {gateway: {}, nonce: {}}
  responses: {"400": {x-abaco-error: {type: "null"}}}
  schemas:
    TimeOrNull: {anyOf: [{type: string}, {type: "null"}]}
    Thing:
      x-abaco-spelled: true
      x-abaco-omits-nulls: true
      required: [thing_id, any_value, may_be, end_time, _links]
      properties:
        thing_id: {type: string}
        any_value: {description: whatever}
        may_be: {type: [integer, "null"]}
        end_time: {$ref: "#/components/schemas/TimeOrNull"}
        _links: {type: object, properties: {not_spelled: {type: string}}}
      examples: [{thing_id: a, may_be: null, _links: {not_spelled: x}}]
    Item:
      x-abaco-spelled: true
      required: [end_time]
      properties: {end_time: {$ref: "#/components/schemas/TimeOrNull"}}
      examples: [{end_time: null}]
    Wanted:
      x-abaco-spelled: true
      properties:
        a_map: {type: object, x-abaco-json-only: true}
        a_text: {type: string}
        choice: {enum: [one, null]}
        whatever: {type: [string, object, array]}
        any_of: {anyOf: [{type: integer}, {enum: ["", null]}]}
        when: {description: Mine., $ref: "#/components/schemas/TimeOrNull"}
      examples: [{a_map: {}, a_text: b}]
"""


def document(dialect):
    return json.loads(describe(dialect))


@pytest.fixture
def finish(monkeypatch):
    """Return the small file as it is served."""

    def finish(dialect):
        monkeypatch.setattr(description, "_load", lambda: yaml.safe_load(PART))
        describe.cache_clear()
        return document(dialect)

    yield finish
    describe.cache_clear()


@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
def test_it_is_valid(dialect):
    whole = document(dialect)
    OpenAPIV31SpecValidator(whole).validate()
    assert whole["info"]["version"] == abaco.__version__


@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
def test_nothing_but_the_level_is_left_of_our_own_words(dialect):
    text = describe(dialect).decode()
    assert text.count("x-abaco-") == text.count('"x-abaco-level"') > 30


def test_both_cases_tell_the_same():
    snake, camel = document(GUARDED), document(CAMEL)
    assert snake["paths"].keys() == camel["paths"].keys()
    assert "use_container_uid" in snake["components"]["schemas"]["Actor"]["properties"]
    assert "useContainerUid" in camel["components"]["schemas"]["Actor"]["properties"]
    assert "host_path" in camel["components"]["schemas"]["Mount"]["properties"]


class TestSpelling:
    def test_in_snake_it_is_as_written(self, finish):
        thing = finish(GUARDED)["components"]["schemas"]["Thing"]
        assert thing == {
            name: value
            for name, value in yaml.safe_load(PART)["components"]["schemas"]["Thing"].items()
            if not name.startswith("x-abaco")
        }

    def test_in_camel_names_are_spelled_and_nulls_left_out(self, finish):
        thing = finish(CAMEL)["components"]["schemas"]["Thing"]
        assert thing["required"] == ["thingId", "_links"]
        assert thing["properties"] == {
            "thingId": {"type": "string"},
            "anyValue": {"description": "whatever", "not": {"type": "null"}},
            "mayBe": {"type": ["integer"]},
            "endTime": {"anyOf": [{"type": "string"}]},
            "_links": {"type": "object", "properties": {"not_spelled": {"type": "string"}}},
        }
        assert thing["examples"] == [{"thingId": "a", "_links": {"not_spelled": "x"}}]

    def test_nulls_stay_where_the_server_keeps_them(self, finish):
        item = finish(CAMEL)["components"]["schemas"]["Item"]
        assert item["required"] == ["endTime"]
        assert item["properties"]["endTime"] == {"$ref": "#/components/schemas/TimeOrNull"}
        assert item["examples"] == [{"endTime": None}]

    def test_parameters_and_links(self, finish):
        for dialect, names, link in (
            (GUARDED, ["how_many", "as_it_is"], "thing_id"),
            (CAMEL, ["howMany", "as_it_is"], "thingId"),
        ):
            operation = finish(dialect)["paths"]["/things/{thing}"]["put"]
            assert [each["name"] for each in operation["parameters"]] == names
            linked = operation["responses"]["200"]["links"]["itself"]["parameters"]
            assert linked == {"thing": f"$response.body#/result/{link}"}


class TestWritingOut:
    @pytest.mark.parametrize(("status", "word"), [("200", "success"), ("409", "error")])
    def test_envelopes(self, finish, status, word):
        response = finish(GUARDED)["paths"]["/things/{thing}"]["put"]["responses"][status]
        schema = response["content"]["application/json"]["schema"]
        assert schema["required"] == ["message", "status", "version", "result"]
        assert schema["properties"]["status"] == {"const": word}
        assert schema["additionalProperties"] is False
        assert {"X-Request-Id", "Access-Control-Allow-Origin"} == set(response["headers"])
        assert response["description"]

    def test_bodies(self, finish):
        whole = finish(GUARDED)
        content = whole["paths"]["/things/{thing}"]["put"]["requestBody"]["content"]
        assert content["application/json"]["schema"] == {"$ref": "#/components/schemas/Wanted"}
        forms = ("application/x-www-form-urlencoded", "multipart/form-data")
        for kind in forms:
            assert content[kind]["schema"]["properties"] == {
                "a_text": {"type": "string"},
                "choice": {"enum": ["one"]},
                "whatever": {"type": ["string"]},
                "any_of": {"anyOf": [{"type": "integer"}, {"enum": [""]}]},
                "when": {"description": "Mine.", "anyOf": [{"type": "string"}]},
            }
            assert content[kind]["schema"]["examples"] == [{"a_text": "b"}]

    def test_responses_of_every_route(self, finish):
        paths = finish(GUARDED)["paths"]
        named = paths["/things/{thing}"]["put"]["responses"]
        assert list(named) == ["200", "400", "404", "409", "413", "500", "503"]
        assert list(paths["/things"]["get"]["responses"]) == ["200", "400", "413", "500", "503"]
        assert list(paths["/health"]["get"]["responses"]) == ["200", "413", "500"]
        modern = finish(GUARDED._replace(is_modern=True))["paths"]["/things"]["get"]["responses"]
        assert {"401", "403"} <= set(modern)

    def test_security(self, finish):
        def ways(dialect):
            paths = finish(dialect)["paths"]
            verbs = {"/things/{thing}": "put", "/things": "get", "/health": "get"}
            return [paths[path][verb]["security"] for path, verb in verbs.items()]

        gateway, nonce = {"gateway": []}, {"nonce": []}
        # A nonce opens what a path names, and nothing else.
        assert ways(GUARDED) == [[gateway, nonce], [gateway], []]
        assert ways(Dialect("snake", False, ("nonce",), False)) == [[{}, nonce], [{}], []]
        assert ways(Dialect("snake", False, (), False)) == [[{}], [{}], []]
        unused = finish(Dialect("snake", False, (), False))["components"]["securitySchemes"]
        assert unused == {}


class TestFiles:
    def test_they_are_joined(self):
        first = {"paths": {"/a": {"get": 1}}, "tags": [1]}
        joined = description._join(first, {"paths": {"/a": {"put": 2}, "/b": {}}}, "b.yaml")
        assert joined == {"paths": {"/a": {"get": 1, "put": 2}, "/b": {}}, "tags": [1]}

    @pytest.mark.parametrize("second", [{"paths": {"/a": {"get": {}}}}, {"tags": [2]}])
    def test_nothing_is_said_twice(self, second):
        first = {"paths": {"/a": {"get": 1}}, "tags": [1]}
        with pytest.raises(ConfigError, match=r"b\.yaml .*(get|tags) twice"):
            description._join(first, second, "b.yaml")


@pytest.fixture(scope="module")
def public_key():
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode()


def test_the_dialect_names_the_ways_to_log_in_that_are_configured(public_key):
    issuer = {
        "jwks_url": "https://issuer.example.org/keys",
        "jwks_issuer": "issuer",
        "jwks_audience": "abaco",
    }
    for web, schemes in (
        ({"apim_public_key": public_key}, ("gateway",)),
        ({"accept_bearer": True}, ("bearer",)),
        (issuer, ("bearer",)),
        ({"apim_public_key": public_key, "accept_bearer": True, "accept_nonce": True},
         ("gateway", "bearer", "nonce")),
    ):  # fmt: skip
        settings = WebSettings(access_control="jwt", **web)
        assert dialect_of(settings) == Dialect("snake", False, schemes, True)


def test_the_dialect_is_that_of_the_settings():
    assert dialect_of(WebSettings()) == Dialect("snake", False, (), False)
    queues = WebSettings(all_queues="default, special")
    assert dialect_of(queues) == Dialect("snake", False, (), False, ("default", "special"))
    web = WebSettings(case="camel", modern_status=True, accept_nonce=True)
    assert dialect_of(web) == Dialect("camel", True, ("nonce",), False)


def test_the_queues_are_those_of_the_settings() -> None:
    whole = document(GUARDED._replace(queues=("default", "special")))
    queue = whole["components"]["schemas"]["ActorRegistration"]["properties"]["queue"]
    assert queue["enum"] == ["default", "special", "", None]
