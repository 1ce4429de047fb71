"""Parameters in: bodies and queries, taken apart and merged."""

import json
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from abaco.errors import InvalidInputError
from handlers.parameters import Body, gather, is_json_type, read_body, read_pairs, read_query

NAMES = ("image", "log_ex", "hints")


def a_request(body=b"", content_type=None, query=""):
    headers = HTTPHeaders({"Host": "h"})
    if content_type is not None:
        headers["Content-Type"] = content_type
    request = HTTPServerRequest(
        start_line=RequestStartLine("POST", f"/actors?{query}", "HTTP/1.1"), headers=headers
    )
    request.body = body
    return request


def json_body(value):
    return read_body(a_request(json.dumps(value).encode(), "application/json"))


class TestPairs:
    @pytest.mark.parametrize(
        ("raw", "fields"),
        [
            (b"", {}),
            (b"a=1", {"a": ["1"]}),
            (b"a=1&a=2&b=", {"a": ["1", "2"], "b": [""]}),
            (b"a", {"a": [""]}),
            (b"a+b=c+d%2B", {"a b": ["c d+"]}),
            (b"%E2%82%AC=%e2%82%ac", {"€": ["€"]}),
            ("€=€".encode(), {"€": ["€"]}),
            (b"a==b", {"a": ["=b"]}),
            (b"=x", {"": ["x"]}),
            (b"a;b=1", {"a;b": ["1"]}),
            (b"&&a=1&&", {"a": ["1"]}),
        ],
    )
    def test_reads(self, raw, fields):
        assert read_pairs(raw) == fields

    @given(st.lists(st.tuples(st.text(min_size=1), st.text()), max_size=20))
    def test_whatever_clients_encode_is_read_back(self, pairs):
        pairs = [(k, v) for k, v in pairs if (k + v).isprintable()]
        read = read_pairs(urlencode(pairs).encode())
        assert [(k, v) for k in dict(pairs) for v in read[k]] == [
            (k, v) for k in dict(pairs) for name, v in pairs if name == k
        ]

    @given(st.binary())
    def test_any_bytes_are_read_or_refused(self, raw):
        try:
            fields = read_pairs(raw)
        except InvalidInputError:
            return
        assert all(isinstance(value, str) for values in fields.values() for value in values)

    @pytest.mark.parametrize(
        ("raw", "field"),
        [
            (b"a=%", "a"),
            (b"a=%4", "a"),
            (b"ok=1&b=%zz", "b"),
            (b"%zz=1", "%zz"),
            (b"c=%ff", "c"),
            (b"%ff=1", "\ufffd"),
            (b"d=\xff", "d"),
            (b"x" * 500 + b"=%", "x" * 80),
        ],
    )
    def test_refuses_and_names_the_field(self, raw, field):
        with pytest.raises(InvalidInputError) as caught:
            read_pairs(raw)
        assert caught.value.field == field

    def test_too_many(self):
        assert len(read_pairs(b"&".join(b"f%d=" % n for n in range(1000)))) == 1000
        with pytest.raises(InvalidInputError, match="more than 1000"):
            read_pairs(b"&".join(b"f%d=" % n for n in range(1001)))


class TestBody:
    @pytest.mark.parametrize(
        ("media_type", "is_json"),
        [
            ("", True),
            ("application/json", True),
            ("application/ld+json", True),
            ("application/jsonx", False),
            ("text/json", False),
            ("image/svg+json", False),
            ("text/plain", False),
        ],
    )
    def test_json_types(self, media_type, is_json):
        assert is_json_type(media_type) is is_json

    @pytest.mark.parametrize("content_type", [None, "APPLICATION/JSON ; charset=utf-8"])
    def test_json(self, content_type):
        body = read_body(a_request(b'{"a": null}', content_type))
        assert (body.is_json, body.json, body.fields) == (True, {"a": None}, {})

    def test_json_null_is_a_body_but_blanks_are_none(self):
        assert read_body(a_request(b"null", "application/json")).is_json
        assert not read_body(a_request(b" \n", "application/json")).is_json
        assert not read_body(a_request()).is_json

    def test_form(self):
        body = read_body(a_request(b"a=1&a=2", "Application/X-WWW-Form-Urlencoded"))
        assert (body.is_json, body.fields) == (False, {"a": ["1", "2"]})

    def test_multipart(self):
        raw = (
            b'--bOuNdArY\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
            b'--bOuNdArY\r\nContent-Disposition: form-data; name="a"\r\n\r\n\xe2\x82\xac\r\n'
            b"--bOuNdArY--\r\n"
        )
        body = read_body(a_request(raw, 'Multipart/Form-Data; boundary="bOuNdArY"'))
        assert body.fields == {"a": ["1", "€"]}

    @pytest.mark.parametrize(
        ("raw", "field"),
        [
            (b"--B\r\n\r\nx\r\n--B--\r\n", ""),
            (b"", ""),
            (b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n\xff\r\n--B--\r\n', "a"),
            (
                b'--B\r\nContent-Disposition: form-data; name="a"; filename="f"\r\n\r\nx\r\n'
                b"--B--\r\n",
                "a",
            ),
        ],
    )
    def test_bad_multipart(self, raw, field):
        with pytest.raises(InvalidInputError) as caught:
            read_body(a_request(raw, "MULTIPART/form-data; boundary=B"))
        assert caught.value.field == field

    def test_other_types_are_left_alone(self):
        body = read_body(a_request(b"\xff{", "text/plain"))
        assert (body.media_type, body.raw, body.json) == ("text/plain", b"\xff{", None)


class TestGather:
    def test_only_what_is_declared(self):
        assert gather(NAMES, json_body({"image": "b", "other": 1}), {}, "snake") == {"image": "b"}

    def test_body_before_query(self):
        query = {"image": ["q"], "log_ex": ["5", "6"]}
        assert gather(NAMES, json_body({"image": "b"}), query, "snake") == {
            "image": "b",
            "log_ex": "5",
        }

    def test_null_means_not_given(self):
        body = json_body({"image": None, "log_ex": None})
        assert gather(NAMES, body, {"log_ex": ["7"]}, "snake") == {"log_ex": "7"}

    @pytest.mark.parametrize(("case", "value"), [("snake", 1), ("camel", 2)])
    def test_both_spellings(self, case, value):
        body = json_body({"log_ex": 1, "logEx": 2})
        assert gather(NAMES, body, {}, case) == {"log_ex": value}
        assert gather(NAMES, json_body({"log_ex": 3}), {}, case) == {"log_ex": 3}
        assert gather(NAMES, json_body({"logEx": 4}), {}, case) == {"log_ex": 4}

    def test_a_json_list_is_no_repeated_field(self):
        body = json_body({"image": ["a"], "hints": ["h"]})
        assert gather(NAMES, body, {}, "snake", lists={"hints"}) == {
            "image": ["a"],
            "hints": ["h"],
        }

    def test_repeated_fields(self):
        body = Body(
            media_type="application/x-www-form-urlencoded",
            raw=b"x",
            fields={"image": ["a", "b"], "hints": ["c", "d"]},
        )
        expected = {"image": "a", "hints": ["c", "d"]}
        assert gather(NAMES, body, {}, "snake", lists={"hints"}) == expected

    @pytest.mark.parametrize("value", [None, 1, "a", [1], True])
    def test_the_body_must_be_an_object(self, value):
        with pytest.raises(InvalidInputError, match="object"):
            gather(NAMES, json_body(value), {}, "snake")

    def test_the_body_must_be_of_a_known_type(self):
        body = read_body(a_request(b"image=b", "text/plain"))
        with pytest.raises(InvalidInputError, match="text/plain"):
            gather(NAMES, body, {}, "snake")

    def test_no_body_at_all(self):
        for content_type in (None, "application/json", "text/plain", "application/octet-stream"):
            assert gather(NAMES, read_body(a_request(b"", content_type)), {}, "snake") == {}


def test_a_query_is_read_as_the_client_sent_it():
    assert read_query(a_request(query="a=%C3%BC&b=1&b=2")) == {"a": ["ü"], "b": ["1", "2"]}
