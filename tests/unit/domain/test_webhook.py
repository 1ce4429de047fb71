"""Webhooks: URLs, addresses, secrets and signatures."""

from __future__ import annotations

import base64
import json
import time
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from abaco.domain.webhook import (
    MAX_URL_LENGTH,
    WebhookPolicy,
    check_secret,
    is_public,
    parse_url,
    read_hops,
    signed_headers,
)
from abaco.errors import InvalidInputError

SECRET = f"whsec_{base64.b64encode(bytes(range(32))).decode()}"
OWN = ("http://127.0.0.1:8000", "https://api.example.org/")
POLICY = WebhookPolicy.read("", OWN)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org",
        "http://example.org:8080/a/b?c=d&e=%20#f",
        "https://93.184.216.34/hook",
        "https://[2606:2800:220:1::1]:443/hook",
        "HTTPS://Example.ORG./x",
        "https://xn--bcher-kva.example/",
        "https://under_score.example.org/",
    ],
)
def test_urls_that_may_be_webhooks(url):
    POLICY.check(url)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("example.org/hook", "must begin"),
        ("ftp://example.org/", "must begin"),
        ("file:///etc/passwd", "must begin"),
        ("javascript:alert(1)", "must begin"),
        ("//example.org/", "must begin"),
        ("https://", "no host"),
        ("https:///path", "no host"),
        ("https://-.-/", "no host"),
        ("https://example.org:0/", "no host"),
        ("https://example.org:99999/", "no URL"),
        ("https://example.org:port/", "no URL"),
        ("https://[::1/", "no URL"),
        ("https://user:word@example.org/", "user or password"),
        ("https://127.0.0.1:8000@example.org/", "user or password"),
        ("https://example.org/\r\nX: y", "characters"),
        ("https://example.org/ x", "characters"),
        ("https://exämple.org/", "characters"),
        ("https://example.org/\\x", "characters"),
        ("https://example.org/" + "x" * MAX_URL_LENGTH, "at most"),
    ],
)
def test_urls_that_may_not(url, why):
    with pytest.raises(InvalidInputError, match=why) as caught:
        parse_url(url)
    assert caught.value.field == "webhook"


PRIVATE = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "10.0.0.1", "172.17.0.1", "192.168.1.1",
    "169.254.169.254", "100.64.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "198.18.0.1",
    "192.0.2.1", "::", "::1", "fe80::1", "fc00::1", "fd12::1", "ff02::1", "2001:db8::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::", "2002:a9fe:a9fe::1",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1", "2001:0:5ef5:79fd::1",
]  # fmt: skip
PUBLIC = [
    "8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "2002:808:808::1",
    "64:ff9b::808:808",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_only_this_machine_or_network_reaches_are_not_public(address):
    assert not is_public(ip_address(address))
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(InvalidInputError, match="public address"):
        POLICY.check(f"http://{host}/")


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address):
    assert is_public(ip_address(address))


@given(st.integers(0, 2**32 - 1))
def test_an_embedded_address_counts_like_the_plain_one(number):
    plain = IPv4Address(number)
    mapped = IPv6Address(0xFFFF_0000_0000 + number)
    translated = IPv6Address((0x64FF9B << 96) + number)
    assert is_public(mapped) == is_public(translated) == is_public(plain)


@pytest.mark.parametrize(
    "url",
    ["http://localhost/", "http://LOCALHOST:80/", "http://a.localhost/", "http://localhost./"],
)
def test_names_of_this_machine_are_refused_at_once(url):
    with pytest.raises(InvalidInputError, match="webhook_allow"):
        POLICY.check(url)


@pytest.mark.parametrize(
    ("allow", "host", "address"),
    [
        ("10.1.0.0/16", "anything", "10.1.2.3"),
        ("10.1.2.3", "anything", "10.1.2.3"),
        ("Inner.Example.org", "inner.example.ORG.", "10.9.9.9"),
        ("localhost", "localhost", "127.0.0.1"),
        ("fd00::/8 , 10.0.0.0/8", "anything", "fd00::1"),
    ],
)
def test_the_operator_allows_names_addresses_and_networks(allow, host, address):
    policy = WebhookPolicy.read(allow, OWN)
    assert policy.may_reach(host, ip_address(address))
    assert not policy.may_reach("other.example.org", ip_address("192.168.0.1"))
    assert not POLICY.may_reach(host, ip_address(address))


def test_an_allowed_localhost_may_be_registered():
    WebhookPolicy.read("localhost", OWN).check("http://localhost:5000/")


@pytest.mark.parametrize("allow", ["10.1.0.1/16", "300.1.1.1", "a b", "http://x/", "x:80", "1.2.3"])
def test_other_entries_are_no_permission(allow):
    with pytest.raises(ValueError, match=allow.split("/")[0]):
        WebhookPolicy.read(allow, OWN)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000/actors/abc/messages?x-nonce=DEV_1",
        "http://127.0.0.1:8000/actors/v2/abc/messages",
        "https://api.example.org/actors/my.alias/messages",
        "https://API.example.org:443/actors/my%20alias/messages",
    ],
)
def test_own_inboxes_are_known_and_may_be_anywhere(url):
    assert POLICY.is_own_inbox(url)
    POLICY.check(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8001/actors/abc/messages",
        "https://127.0.0.1:8000/actors/abc/messages",
        "http://127.0.0.1:8000/actors/abc",
        "http://127.0.0.1:8000/actors/abc/messages/",
        "http://127.0.0.1:8000/actors/../messages",
        "http://127.0.0.1:8000/actors/%2e%2e/messages",
        "http://127.0.0.1:8000/actors/..%2f..%2fadmin/messages",
        "http://127.0.0.1:8000/actors/..%5Cadmin/messages",
        "http://127.0.0.1:8000/admin",
        "http://127.0.0.1:8000/metrics?/actors/abc/messages",
    ],
)
def test_what_only_looks_like_an_own_inbox_is_none(url):
    assert not POLICY.is_own_inbox(url)
    with pytest.raises(InvalidInputError, match="public address"):
        POLICY.check(url)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "secret",
        SECRET.removeprefix("whsec_"),
        "whsec_",
        "whsec_!!!!",
        f"whsec_{base64.b64encode(bytes(23)).decode()}",
        f"whsec_{base64.b64encode(bytes(65)).decode()}",
        "whsec_ä" + "A" * 40,
    ],
)
def test_a_secret_has_a_form_and_its_refusal_does_not_repeat_it(secret):
    with pytest.raises(InvalidInputError, match="base64") as caught:
        check_secret(secret)
    assert caught.value.field == "webhook_secret"
    assert caught.value.__cause__ is None
    assert len(secret) < 10 or secret not in str(caught.value)


@given(st.binary(min_size=24, max_size=64), st.binary(max_size=99))
def test_an_independent_library_verifies_the_signature(key, body):
    secret = f"whsec_{base64.b64encode(key).decode()}"
    document = json.dumps({"body": body.hex()}).encode()
    headers = signed_headers("evt_a_1", int(time.time()), document, secret)
    assert Webhook(secret).verify(document, headers) == {"body": body.hex()}
    changed = bytes([key[0] ^ 1]) + key[1:]
    with pytest.raises(WebhookVerificationError):
        Webhook(base64.b64encode(changed).decode()).verify(document, headers)


def test_without_a_secret_there_is_an_id_and_no_signature():
    headers = signed_headers("evt_a_1", 1700000000, b"{}", "")
    assert headers == {"webhook-id": "evt_a_1", "webhook-timestamp": "1700000000"}


@pytest.mark.parametrize(
    ("text", "hops"),
    [("3", 3), ("0", 0), ("99", 10), ("999", 10), ("", 0), ("-1", 0), ("x", 0), ("1" * 5000, 0)],
)
def test_the_hops_a_client_claims_are_bounded(text, hops):
    assert read_hops({"X-Abaco-Event-Hops": text}, 10) == hops
    assert read_hops({}, 10) == 0
