"""Random requests: whatever comes, the answer is an envelope and no fault of ours."""

import json
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abaco.operations.definition import ActorDraft
from tests.http.conftest import opened
from tests.http.site import jwt_settings

ATTRIBUTES = [*ActorDraft.__dataclass_fields__, "force", "num", "message", "status"]

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
    for path in ("messages", "state", "workers"):
        check(long_lived.post(f"/actors/{actor_id}/{path}", body=body, headers=headers))


@settings(deadline=None)
@given(body=st.binary(), content_type=content_types)
def test_bytes(long_lived, actor_id, body, content_type):
    headers = {"Content-Type": content_type}
    check(long_lived.post("/actors", body=body, headers=headers))
    for path in ("messages", "state", "workers"):
        check(long_lived.post(f"/actors/{actor_id}/{path}", body=body, headers=headers))


@settings(deadline=None)
@given(query=st.text(st.sampled_from("ab=&%+;0fF_-.?/:@!$'()*,~")))
def test_queries(long_lived, actor_id, query):
    check(long_lived.get(f"/actors?{query}"))
    check(long_lived.post(f"/actors/{actor_id}/messages?{query}", form={"message": "m"}))


@settings(deadline=None)
@given(name=st.text(min_size=1).filter(lambda text: not set(text) & set("\ud800")))
def test_names(long_lived, name):
    segment = quote(name.encode("utf-8", "replace"), safe="")
    for path in (f"/actors/{segment}", f"/actors/{segment}/executions/{segment}/logs"):
        assert long_lived.get(path).status == 404
