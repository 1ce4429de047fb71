"""Random requests: whatever comes, the answer is an envelope and no fault of ours."""

import json
from urllib.parse import quote, urlencode

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from abaco.domain.search import Operator, SearchKind
from abaco.operations.definition import ActorDraft
from tests.http.conftest import opened
from tests.http.site import jwt_settings

ATTRIBUTES = [*ActorDraft.__dataclass_fields__, "force", "num", "message", "status"]
SHARED = ["alias", "actor_id", "user", "level", "max_uses", "description"]
SEARCHED = [
    "limit", "skip", "search", "exactsearch", "image", "state", "state.a", "create_time",
    "createTime", "final_state.StartedAt", "exit_code", "logs", "hints", "token", "status", "$x",
]  # fmt: skip
OPERANDS = [
    "1",
    "[",
    "(",
    "[1]",
    "{}",
    "a,b",
    "1,2",
    "2020",
    "2020,2021",
    "none",
    "true",
    "\0",
    "*",
]
BELOW = ("messages", "state", "workers", "nonces", "permissions")

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from(["busybox", "true", "-1", "3g", "none", "default", "\0", "\ud800", ""])
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10
)
bodies = st.dictionaries(st.sampled_from(ATTRIBUTES), values)
content_types = st.sampled_from(
    [
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=B",
        "application/octet-stream",
        "text/plain",
        "",
    ]
)


@pytest.fixture(scope="module")
def long_lived():
    with opened(jwt_settings("camel")) as site:
        yield site


@pytest.fixture(scope="module")
def actor_id(long_lived):
    return long_lived.register(stateless=False)


@pytest.fixture(scope="module")
def executed(long_lived):
    actor_id = long_lived.register()
    execution_id = long_lived.send(actor_id)
    long_lived.run(long_lived.player.run(long_lived.key(actor_id), output=b"out"))
    return actor_id, execution_id


def check(reply):
    envelope = reply.envelope
    assert reply.status in (200, 400, 404), (reply.status, envelope)
    assert envelope["status"] == ("success" if reply.status == 200 else "error")


@settings(deadline=None)
@given(attributes=bodies, has_image=st.booleans())
def test_attributes(long_lived, actor_id, attributes, has_image):
    body = {"image": "busybox", **attributes} if has_image else attributes
    check(long_lived.post("/actors", json_body=body))
    check(long_lived.put(f"/actors/{actor_id}", json_body=body))
    check(long_lived.get(f"/actors/{actor_id}"))


@settings(deadline=None)
@given(value=values)
def test_messages_and_state(long_lived, actor_id, value):
    body, headers = json.dumps(value).encode(), {"Content-Type": "application/json"}
    for path in BELOW:
        check(long_lived.post(f"/actors/{actor_id}/{path}", body=body, headers=headers))


@settings(deadline=None)
@given(body=st.binary(), content_type=content_types)
def test_bytes(long_lived, actor_id, body, content_type):
    headers = {"Content-Type": content_type}
    check(long_lived.post("/actors", body=body, headers=headers))
    for path in BELOW:
        check(long_lived.post(f"/actors/{actor_id}/{path}", body=body, headers=headers))


@settings(deadline=None)
@given(body=st.dictionaries(st.sampled_from(SHARED), values | st.sampled_from(["READ", "jane"])))
def test_sharing(long_lived, actor_id, body):
    check(long_lived.post("/actors/aliases", json_body=body))
    check(long_lived.post("/actors/aliases", json_body={"alias": "a", "actorId": actor_id, **body}))
    for below in ("nonces", "permissions"):
        check(long_lived.post(f"/actors/{actor_id}/{below}", json_body=body))
        check(long_lived.post(f"/actors/aliases/a/{below}", json_body=body))
        check(long_lived.get(f"/actors/{actor_id}/{below}"))


@settings(deadline=None)
@given(name=st.text(min_size=1, max_size=20).filter(lambda text: not set(text) & set("\ud800")))
def test_an_alias_that_is_made_can_be_used(long_lived, actor_id, name):
    name = f"~{name}"  # no other test here makes one like it
    reply = long_lived.post("/actors/aliases", json_body={"alias": name, "actorId": actor_id})
    check(reply)
    path = quote(name.encode("utf-8", "replace"), safe="")
    if reply.status == 200:
        assert long_lived.get(f"/actors/{path}").result["id"] == actor_id
        assert long_lived.delete(f"/actors/aliases/{path}").result is None
    assert long_lived.get(f"/actors/aliases/{path}").status == 404


@settings(deadline=None)
@given(nonce=st.text())
def test_made_up_nonces(long_lived, actor_id, nonce):
    text = quote(nonce.encode("utf-8", "replace"))
    for path in (f"/actors/{actor_id}", "/actors", "/actors/aliases/a"):
        assert long_lived.get(f"{path}?x-nonce={text}", user=None).status == 400
    assert long_lived.get(f"/actors/{actor_id}/nonces/x{quote(text, safe='')}").status == 404


@settings(deadline=None)
@given(query=st.text(st.sampled_from("ab=&%+;0fF_-.?/:@!$'()*,~")))
def test_queries(long_lived, actor_id, query):
    check(long_lived.get(f"/actors?{query}"))
    check(long_lived.post(f"/actors/{actor_id}/messages?{query}", form={"message": "m"}))


@settings(deadline=None)
@given(
    parameters=st.lists(
        st.tuples(
            st.sampled_from(SEARCHED) | st.text(),
            st.sampled_from(("", *(f".{each}" for each in Operator), ".x", "..")),
            st.sampled_from(OPERANDS) | st.text() | values.map(json.dumps),
        ),
        max_size=4,
    )
)
def test_searches(long_lived, executed, parameters):
    actor_id, execution_id = executed
    pairs = [
        tuple(part.encode("utf-8", "replace") for part in (name + operator, value))
        for name, operator, value in parameters
    ]
    query = urlencode(pairs)
    for kind in SearchKind:
        check(long_lived.get(f"/actors/search/{kind}?{query}"))
    below = f"/actors/{actor_id}"
    for path in ("", f"{below}/executions", f"{below}/executions/{execution_id}/logs"):
        check(long_lived.get(f"{path or '/actors'}?{query}"))
    check(long_lived.get(f"{below}/workers?{query}"))


@settings(deadline=None)
@given(name=st.text(min_size=1).filter(lambda text: not set(text) & set("\ud800")))
def test_names(long_lived, name):
    assume(name != "a")  # an alias of that name is made above
    segment = quote(name.encode("utf-8", "replace"), safe="")
    for path in (f"/actors/{segment}", f"/actors/{segment}/executions/{segment}/logs"):
        assert long_lived.get(path).status == 404
