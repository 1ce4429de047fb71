"""Everything a client can get wrong: always refused, never a fault of ours.

Each row names the field that the refusal must name, in the configured spelling; ``""`` where
there is none to name.
"""

import gzip
import json

import pytest

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
NUL = "nul\0character"


def nested(depth):
    return b"[" * depth + b"]" * depth


#: attribute, bad value (as JSON). Administrators send them, so roles do not get in the way.
BAD_ATTRIBUTES = [
    ("image", None),
    ("image", ""),
    ("image", " "),
    ("image", ["busybox"]),
    ("image", {"name": "busybox"}),
    ("image", True),
    ("image", "Not an image"),
    ("image", "../../etc/passwd"),
    ("image", "a" * 5000),
    ("image", "bus\0ybox"),
    ("image", "busybox\nFROM x"),
    ("name", ["n"]),
    ("name", {"n": 1}),
    ("name", False),
    ("name", "n" * 2000),
    ("name", NUL),
    ("description", ["d"]),
    ("description", NUL),
    ("stateless", "abcd"),
    ("stateless", ""),
    ("stateless", 2),
    ("stateless", []),
    ("stateless", {}),
    ("type", "xml"),
    ("type", ["json"]),
    ("token", "maybe"),
    ("token", 5),
    ("link", "some-actor"),
    ("link", 5),
    ("webhook", 5),
    ("webhook", "example.org/hook"),
    ("webhook", "https://user:word@example.org/"),
    ("webhook", "http://127.0.0.1:22/"),
    ("webhook", "http://[::ffff:169.254.169.254]/latest"),
    ("webhook", "https://example.org/" + "x" * 5000),
    ("webhook_secret", "open sesame"),
    ("webhook_secret", "whsec_c2hvcnQ="),
    ("webhook_secret", ["whsec_"]),
    ("cron_schedule", "never"),
    ("cron_schedule", " "),
    ("cron_schedule", "2019-09-06 20 + 3 months"),
    ("cron_schedule", "2078-09-06 20 + 3 moons"),
    ("cron_schedule", "now + 0 hours"),
    ("cron_schedule", "0 0 30 2 *"),
    ("cron_schedule", "CRON_TZ=../../etc/passwd * * * * *"),
    ("cron_schedule", "*" * 5000),
    ("cron_schedule", ["now + 1 hour"]),
    ("cron_schedule", 5),
    ("cron_schedule", NUL),
    ("cron_on", True),
    ("cron_on", "perhaps"),
    ("hints", {"sync": True}),
    ("hints", [["sync"]]),
    ("hints", "{sync}"),
    ("hints", ["ok", 'quo"ted']),
    ("hints", True),
    ("privileged", "yes"),
    ("privileged", [True]),
    ("max_workers", 0),
    ("max_workers", -3),
    ("max_workers", "three"),
    ("max_workers", 2.5),
    ("max_workers", [3]),
    ("max_workers", True),
    ("max_workers", 10**30),
    ("mem_limit", "lots"),
    ("mem_limit", "-3g"),
    ("mem_limit", ""),
    ("mem_limit", ["3g"]),
    ("mem_limit", 1.5e300),
    ("max_cpus", -2),
    ("max_cpus", 0),
    ("max_cpus", "1.5"),
    ("max_cpus", {}),
    ("queue", "special"),
    ("queue", ["default"]),
    ("use_container_uid", "abcd"),
    ("use_container_uid", [True]),
    ("default_environment", "abcd"),
    ("default_environment", "{}"),
    ("default_environment", ["A=1"]),
    ("default_environment", 1),
    ("default_environment", {"": "x"}),
    ("default_environment", {"A=B": "x"}),
    ("default_environment", {"A": NUL}),
    ("default_environment", {"N\0L": "x"}),
    ("default_environment", {"A": "x" * 140_000}),
    ("log_ex", "soon"),
    ("log_ex", -2),
    ("log_ex", "3.7"),
    ("log_ex", 10**19),
    ("log_ex", [1]),
    ("mem_limit", "5m"),
    ("max_cpus", 9_999_999),
    ("max_run_time", 0),
    ("max_run_time", -2),
    ("max_run_time", "soon"),
    ("max_run_time", 2**63),
    ("read_only_rootfs", "perhaps"),
    ("read_only_rootfs", [True]),
    ("network", "host"),
    ("network", "NONE"),
    ("network", ["none"]),
]


def short(value):
    text = repr(value)
    return text if len(text) < 40 else f"{text[:36]}..."


@pytest.mark.parametrize(("field", "value"), BAD_ATTRIBUTES, ids=short)
def test_bad_attributes(site, field, value):
    attributes = site.fields(image="busybox", **{field: value} if field != "image" else {})
    attributes[site.name(field)] = value
    body = {name: value for name, value in attributes.items() if value is not None}
    actor_id = site.register()
    for method, path in (("POST", "/actors"), ("PUT", f"/actors/{actor_id}")):
        reply = site.request(method, path, json_body=body)
        assert reply.status == 400
        assert site.name(field) in reply.error
        assert len(reply.error) < 1000
    assert [actor["id"] for actor in site.get("/actors").result] == [actor_id]


@pytest.mark.parametrize("field", ["default_environment", "stateless", "max_workers", "log_ex"])
def test_bad_attributes_by_form(site, field):
    for form in ({"image": "b", site.name(field): "abcd"}, {"image": "b", field: "abcd"}):
        reply = site.post("/actors", form=form)
        assert (reply.status, site.name(field) in reply.error) == (400, True)


def test_max_workers_of_a_stateful_actor(site):
    body = site.fields(image="b", stateless=False, max_workers=3)
    error = site.post("/actors", json_body=body).error
    assert "stateful actors can only have 1 worker" in error
    assert site.name("max_workers") in error


#: below which object, parameter, bad value (as JSON)
BAD_PARAMETERS = [
    ("nonces", "level", "WRITE"),
    ("nonces", "level", "execute"),
    ("nonces", "level", ""),
    ("nonces", "level", 2),
    ("nonces", "level", ["READ"]),
    ("nonces", "level", {"READ": 1}),
    ("nonces", "level", True),
    ("nonces", "level", "READ\0"),
    ("nonces", "level", "x" * 100_000),
    ("nonces", "max_uses", 0),
    ("nonces", "max_uses", -2),
    ("nonces", "max_uses", "many"),
    ("nonces", "max_uses", ""),
    ("nonces", "max_uses", 1.5),
    ("nonces", "max_uses", 10**30),
    ("nonces", "max_uses", [1]),
    ("nonces", "max_uses", True),
    ("nonces", "description", ["d"]),
    ("nonces", "description", NUL),
    ("nonces", "description", "d" * 100_000),
    ("permissions", "user", None),
    ("permissions", "user", ""),
    ("permissions", "user", ["jane"]),
    ("permissions", "user", {"$ne": None}),
    ("permissions", "user", False),
    ("permissions", "user", NUL),
    ("permissions", "user", "line\nbreak"),
    ("permissions", "user", "u" * 100_000),
    ("permissions", "level", None),
    ("permissions", "level", "WRITE"),
    ("permissions", "level", "update"),
    ("permissions", "level", 3),
    ("permissions", "level", ["READ"]),
    ("permissions", "level", "x" * 100_000),
]


@pytest.mark.parametrize(("below", "field", "value"), BAD_PARAMETERS, ids=short)
def test_bad_parameters_of_sharing(site, below, field, value):
    good = {"nonces": {}, "permissions": {"user": "jane", "level": "READ"}}[below]
    body = {key: item for key, item in {**good, field: value}.items() if item is not None}
    actor_id = site.register()
    site.post("/actors/aliases", form=site.fields(alias="hello", actor_id=actor_id))
    for path in (f"/actors/{actor_id}/{below}", f"/actors/aliases/hello/{below}"):
        before = site.get(path).result
        reply = site.post(path, json_body=site.fields(**body))
        assert reply.status == 400
        assert site.name(field) in reply.error
        assert len(reply.error) < 1000
        assert site.get(path).result == before


#: parameter of an alias, bad value (as JSON), status
BAD_ALIASES = [
    ("alias", None, 400),
    ("alias", "", 400),
    ("alias", ".", 400),
    ("alias", "..", 400),
    ("alias", "../actors", 400),
    ("alias", "two words", 400),
    ("alias", "line\nbreak", 400),
    ("alias", NUL, 400),
    ("alias", "nonces", 400),
    ("alias", "yP0PDpZWG38Bg", 400),
    ("alias", True, 400),
    ("alias", ["hello"], 400),
    ("alias", {"a": 1}, 400),
    ("alias", "a" * 256, 400),
    ("alias", "x" * 100_000, 400),
    ("actor_id", None, 400),
    ("actor_id", True, 400),
    ("actor_id", ["yP0PDpZWG38Bg"], 400),
    ("actor_id", {"$gt": ""}, 400),
    ("actor_id", NUL, 400),
    ("actor_id", "", 404),
    ("actor_id", 5, 404),
    ("actor_id", "hello", 404),
    ("actor_id", "yP0PDpZWG38Bg", 404),
    ("actor_id", "x" * 100_000, 404),
]


@pytest.mark.parametrize(("field", "value", "status"), BAD_ALIASES, ids=short)
def test_bad_aliases(site, field, value, status):
    actor_id = site.register()
    good = {"alias": "hello", "actor_id": actor_id}
    body = {key: item for key, item in {**good, field: value}.items() if item is not None}
    reply = site.post("/actors/aliases", json_body=site.fields(**body))
    assert reply.status == status
    if status == 400:
        assert site.name(field) in reply.error
    assert len(reply.error) < 1000
    assert site.get("/actors/aliases").result == []
    if field == "actor_id":
        site.post("/actors/aliases", json_body=site.fields(**good))
        path, body = "/actors/aliases/hello", {"actor_id": value} if value is not None else {}
        assert site.put(path, json_body=site.fields(**body)).status == status
        assert site.get(path).result[site.name("actor_id")] == actor_id


@pytest.mark.parametrize("path", ["/actors/aliases", "/actors/{}/nonces", "/actors/{}/permissions"])
@pytest.mark.parametrize(
    ("body", "content_type", "words"),
    [
        (b"{", JSON, "JSON"),
        (b"[]", JSON, "object"),
        (b"5", JSON, "object"),
        (b'{"level": "READ", "level": "UPDATE"}', JSON, "level"),
        (b'{"user": "\\ud800", "level": "READ", "alias": "\\ud800"}', JSON, ""),
        (nested(100_000), JSON, "deep"),
        (b"level=%zz", FORM, "level"),
        (b"level=%ff", FORM, "level"),
        (b"x", "multipart/form-data", "form"),
        (b"x", "application/octet-stream", "octet-stream"),
        (b"level=READ", "text/plain", "text/plain"),
    ],
    ids=short,
)
def test_bad_bodies_of_sharing(snake, path, body, content_type, words):
    where = path.format(snake.register())
    before = snake.get(where).result
    reply = snake.post(where, body=body, headers={"Content-Type": content_type})
    assert (reply.status, words in reply.error) == (400, True)
    assert len(reply.error) < 1000
    assert snake.get(where).result == before


#: body, its type, words of the refusal
BAD_BODIES = [
    (b"", JSON, "image"),
    (b"   ", JSON, "image"),
    (b"{}", JSON, "image"),
    (b"", FORM, "image"),
    (b"a=1", FORM, "image"),
    (b"{", JSON, "JSON"),
    (b"{'image': 'b'}", JSON, "JSON"),
    (b'{"image": "b",}', JSON, "JSON"),
    (b'{"image": "b"} trailing', JSON, "JSON"),
    (b'{"image": "b", "n": NaN}', JSON, "NaN"),
    (b'{"image": "b", "n": -Infinity}', JSON, "Infinity"),
    (b'{"image": "b", "n": 1e999}', JSON, "1e999"),
    (b'{"image": "b", "n": ' + b"9" * 5000 + b"}", JSON, "digits"),
    (b'{"image": "a", "image": "b"}', JSON, "image"),
    (b'{"image": "b", "name": "\\ud800"}', JSON, "name"),
    (b'{"image": "\xff"}', JSON, "UTF-8"),
    (json.dumps({"image": "b"}).encode("utf-16"), JSON, "UTF-8"),
    (gzip.compress(b'{"image": "b"}'), JSON, "UTF-8"),
    (b'"b"', JSON, "object"),
    (b"5", JSON, "object"),
    (b"null", JSON, "object"),
    (b"true", JSON, "object"),
    (b'["image", "b"]', JSON, "object"),
    (nested(100_000), JSON, "deep"),
    (b'{"a":' * 100_000, JSON, "deep"),
    (b'{"image": "b", "description": ' + nested(500) + b"}", JSON, "deep"),
    (b"image=b&description=%zz", FORM, "description"),
    (b"image=%ff", FORM, "image"),
    (b"image=b&name=%", FORM, "name"),
    (b"image=b&%ff=1", FORM, "UTF-8"),
    (b"&".join(b"f%d=1" % n for n in range(2000)), FORM, "form"),
    (b"image=b", "text/plain", "text/plain"),
    (b"\x00\x01", "application/octet-stream", "octet-stream"),
    (b"<image>b</image>", "application/xml", "application/xml"),
    (b'{"image": "b"}', "application/jsonx", "application/jsonx"),
    (b"x", "garbage", "garbage"),
    (b"x", "multipart/form-data", "form"),
    (b"x", "multipart/form-data; boundary=", "form"),
    (b"x", "multipart/form-data; boundary=B", "form"),
    (b"--B\r\n\r\nx\r\n--B--\r\n", "multipart/form-data; boundary=B", "form"),
    (b"--B\r\nContent-Disposition: form-data\r\n\r\nx\r\n--B--", "multipart/form-data; boundary=B",
     "form"),
    (b'--B\r\nContent-Disposition: form-data; name="image"\r\n\r\n\xff\r\n--B--\r\n',
     "multipart/form-data; boundary=B", "image"),
    (b'--B\r\nContent-Disposition: form-data; name="image"; filename="f"\r\n\r\nb\r\n--B--\r\n',
     "multipart/form-data; boundary=B", "image"),
    (b"--B\r\n" * 500 + b"--B--", "multipart/form-data; boundary=B", "form"),
    (b"--B\r\nNo header\r\n\r\nx\r\n--B--", "multipart/form-data; boundary=B", "form"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "content_type", "words"), BAD_BODIES, ids=short)
def test_bad_bodies(snake, body, content_type, words):
    reply = snake.post("/actors", body=body, headers={"Content-Type": content_type})
    assert reply.status == 400
    assert words in reply.error
    assert len(reply.error) < 1000
    assert snake.get("/actors").result == []


#: body, its type, query, words of the refusal
BAD_MESSAGES = [
    (b"", None, "", "message"),
    (b"", JSON, "", "message"),
    (b"", FORM, "", "message"),
    (b"message=", FORM, "", "message"),
    (b"other=1", FORM, "", "message"),
    (b"", None, "?message=", "message"),
    (b"plain words", "text/plain", "", "cannot be serialized"),
    (b"\xff\xff", "text/plain", "", "cannot be serialized"),
    (b"message=a%00b", FORM, "", "message"),
    (b'{"message": "a\\u0000b"}', JSON, "", "message"),
    (b'"a\\u0000b"', JSON, "", "message"),
    (b'{"message": "\\udc00"}', JSON, "", "message"),
    (b"message=%ff", FORM, "", "message"),
    (b"message=%e", FORM, "", "message"),
    (b'{"message": "a"', JSON, "", "JSON"),
    (b'{"message": "a", "message": "b"}', JSON, "", "message"),
    (nested(100_000), JSON, "", "deep"),
    (b"[" * 100_000, JSON, "", "deep"),
    (b"message=" + b"m" * 131_068, FORM, "", "message"),
    (json.dumps("m" * 131_068).encode(), JSON, "", "message"),
    (json.dumps(["m" * 10] * 12_000).encode(), JSON, "", "message"),
    (b"message=m", FORM, "?a=%zz", "a"),
    (b"message=m", FORM, "?caf%E9=1", "UTF-8"),
    (b"message=m", FORM, "?city=%ff", "city"),
    (b"message=m", FORM, "?a=%00", "a"),
    (b"message=m", FORM, "?%00=a", "NUL"),
    (b"message=m", FORM, "?a%3Db=c", "a=b"),
    (b"message=m", FORM, "?=c", "name of a variable"),
    (b"message=m", FORM, "?%", "hex digits"),
    (b"message=m", FORM, "?_abaco_synchronous=maybe", "_abaco_synchronous"),
    (b"message=m", FORM, "?_abaco_synchronous=", "_abaco_synchronous"),
]


@pytest.mark.parametrize(("body", "content_type", "query", "words"), BAD_MESSAGES, ids=short)
def test_bad_messages(site, body, content_type, query, words):
    actor_id = site.register()
    reply = site.post(
        f"/actors/{actor_id}/messages{query}",
        body=body,
        headers={"Content-Type": content_type} if content_type else {},
    )
    assert reply.status == 400
    assert words in reply.error
    assert len(reply.error) < 1000
    assert site.get(f"/actors/{actor_id}/messages").result["messages"] == 0


#: what stands in the place of an id -> status
BAD_IDS = {
    "bad_actor_id": 404,
    "-": 404,
    "0": 404,
    "..": 404,
    "%2e%2e": 404,
    "..%2f..%2fetc%2fpasswd": 404,
    "%2Factors": 404,
    "%00": 404,
    "a%00b": 404,
    "%0d%0aX-Injected:%201": 404,
    "%C3%A9": 404,
    "%ff": 400,
    "%zz": 404,
    "%": 404,
    "x" * 60_000: 404,
    "yP0PDpZWG38Bg" * 100: 404,
    "'%20OR%201=1--": 404,
    "$where": 404,
    "{}": 404,
    "null": 404,
    "%61liases": 404,
    ";": 404,
    "abc;id=1": 404,
}


@pytest.mark.parametrize(("name", "status"), BAD_IDS.items(), ids=short)
def test_bad_ids(snake, name, status):
    below = ("state", "messages", "executions", "workers", "executions/a/logs")
    below = (*below, "nonces", "nonces/n", "permissions")
    for path in ("", *(f"/{part}" for part in below)):
        reply = snake.get(f"/actors/{name}{path}")
        assert reply.status == status
        assert len(reply.error) < 1000
        assert "X-Injected" not in reply.headers
    assert snake.post(f"/actors/{name}/messages", form={"message": "m"}).status == status
    assert snake.delete(f"/actors/{name}").status == status


@pytest.mark.parametrize(("name", "status"), BAD_IDS.items(), ids=short)
def test_bad_names_of_aliases_and_nonces(snake, name, status):
    actor_id = snake.register()
    for path in (f"aliases/{name}", f"aliases/{name}/permissions", f"{actor_id}/nonces/{name}"):
        reply = snake.get(f"/actors/{path}")
        assert reply.status == status
        assert len(reply.error) < 1000
        assert "X-Injected" not in reply.headers
    assert snake.delete(f"/actors/aliases/{name}").status == status
    assert snake.delete(f"/actors/{actor_id}/nonces/{name}").status == status


@pytest.mark.parametrize("query", ["%zz", "a=%ff", "%ff=1", "=%"])
def test_bad_queries(snake, query):
    assert snake.get(f"/actors?{query}").status == 400
    assert snake.post(f"/actors?{query}", json_body={"image": "b"}).status == 400


class TestHugeBodies:
    limit = 10_000

    @pytest.fixture
    def small(self, make_site):
        return make_site(max_body_length=self.limit)

    def test_at_the_limit(self, small):
        actor_id = small.register()
        body = json.dumps("m" * (self.limit - 2)).encode()
        headers = {"Content-Type": JSON}
        assert len(body) == self.limit
        path = f"/actors/{actor_id}/messages"
        assert small.post(path, body=body, headers=headers).status == 200
        assert small.post(path, body=body + b" ", headers=headers).status == 413

    @pytest.mark.parametrize("size", [10_001, 1_000_000, 10_000_000])
    @pytest.mark.parametrize("path", ["/actors", "/nope", "/actors/x/messages"])
    def test_with_a_length(self, small, size, path):
        reply = small.post(path, body=b"x" * size, headers={"Content-Type": JSON})
        assert reply.status == 413
        assert "10000" in reply.error

    def test_in_chunks(self, small):
        async def produce(write):
            for _ in range(100):
                await write(b"x" * 1_000)

        async def send():
            return await small.client.fetch(
                f"http://127.0.0.1:{small.port}/actors",
                method="POST",
                body_producer=produce,
                raise_error=False,
            )

        response = small.run(send())
        assert response.code == 413
        assert json.loads(response.body)["status"] == "error"

    def test_without_a_token(self, small):
        reply = small.post("/actors", body=b"x" * 20_000, user=None)
        assert reply.status == 413

    def test_it_goes_on_afterwards(self, small):
        for _ in range(5):
            assert small.post("/actors", body=b"x" * 50_000).status == 413
        assert small.get("/actors").result == []
