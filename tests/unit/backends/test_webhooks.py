"""Requests to receivers: what is reached, what an answer means, and how long it takes."""

from __future__ import annotations

import asyncio
import datetime
import json
import logging
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from abaco.domain.webhook import WebhookPolicy
from abaco.ports.webhooks import Answer, Verdict
from backends.webhooks import HttpWebhookSender, judge, look_up
from tests.support.receiver import Receiver, a_receiver

LOCAL = "127.0.0.0/8"
BODY = json.dumps({"event_type": "ACTOR_READY"}).encode()
HEADERS = {"webhook-id": "evt_a_1"}


def places(*addresses: str, port: int) -> list[tuple[int, tuple[Any, ...]]]:
    return [
        (socket.AF_INET6, (each, port, 0, 0)) if ":" in each else (socket.AF_INET, (each, port))
        for each in addresses
    ]


def resolving(*answers: list[str]) -> Callable[..., Any]:
    """Look-ups that answer one after the other, the last one for ever."""
    left = list(answers)

    async def find(host: str, port: int) -> list[tuple[int, tuple[Any, ...]]]:
        return places(*(left.pop(0) if len(left) > 1 else left[0]), port=port)

    return find


@asynccontextmanager
async def a_sender(
    allow: str = LOCAL, own: tuple[str, ...] = (), timeout_s: float = 5.0, **options: Any
) -> AsyncIterator[HttpWebhookSender]:
    sender = HttpWebhookSender(WebhookPolicy.read(allow, own), timeout_s, **options)
    try:
        yield sender
    finally:
        await sender.close()


async def post(url: str, **options: Any) -> Answer:
    async with a_sender(**options) as sender:
        return await sender.post(url, BODY, HEADERS)


async def test_a_receiver_gets_the_body_and_the_headers() -> None:
    with a_receiver() as receiver:
        answer = await post(receiver.url + "?x-nonce=abc")
        assert answer == Answer(Verdict.DELIVERED, "it answered 200")
        (received,) = receiver.received
    assert received.path == "/hook?x-nonce=abc"
    assert received.body == BODY
    assert received.headers["content-type"] == "application/json"
    assert received.headers["webhook-id"] == "evt_a_1"
    assert received.headers["user-agent"].startswith("Abaco/")
    assert received.headers["host"] == f"127.0.0.1:{receiver.port}"


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, "delivered"), (202, "delivered"), (204, "delivered"), (299, "delivered"),
        (301, "refused"), (302, "refused"), (307, "refused"), (400, "refused"),
        (401, "refused"), (404, "refused"), (410, "refused"), (422, "refused"),
        (408, "uncertain"), (425, "uncertain"), (429, "uncertain"),
        (500, "uncertain"), (503, "uncertain"), (599, "uncertain"),
    ],
)  # fmt: skip
async def test_what_a_status_means(status: int, verdict: str) -> None:
    assert judge(status).verdict == verdict
    with a_receiver([status]) as receiver:
        assert (await post(receiver.url)).verdict == verdict
        assert len(receiver.received) == 1


async def test_a_redirect_is_not_followed() -> None:
    with a_receiver() as inner, a_receiver([307]) as outer:
        outer.headers["Location"] = inner.url
        answer = await post(outer.url)
        assert answer == Answer(Verdict.REFUSED, "it answered 307")
        assert inner.received == []


async def test_a_hanging_receiver_costs_its_time_and_no_more() -> None:
    with a_receiver(pause_s=20.0) as receiver:
        began = time.monotonic()
        answer = await post(receiver.url, timeout_s=0.3)
        assert time.monotonic() - began < 15
    assert answer.verdict is Verdict.UNCERTAIN
    assert "imeout" in answer.reason


async def test_a_receiver_that_is_not_there_may_come_back() -> None:
    with a_receiver() as receiver:
        url = receiver.url
    answer = await post(url)
    assert answer.verdict is Verdict.UNCERTAIN
    assert "refused" in answer.reason


async def test_a_name_that_is_not_known_may_be_one_day() -> None:
    answer = await post("http://nowhere.invalid/")
    assert answer.verdict is Verdict.UNCERTAIN


async def test_a_name_no_dns_can_hold_is_no_fault_of_ours() -> None:
    assert (await post(f"http://{'x' * 64}.example/")).verdict is Verdict.UNCERTAIN


@pytest.mark.parametrize("reply", [b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Le", b""])
async def test_a_receiver_that_speaks_no_http(reply: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        found = await post(f"http://127.0.0.1:{port}/")
    assert found.verdict is Verdict.UNCERTAIN


async def test_the_head_of_an_answer_decides_whatever_follows() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n" + b"x" * 65536)
        await writer.drain()
        await asyncio.sleep(0.2)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        found = await post(f"http://127.0.0.1:{port}/")
    assert found.verdict is Verdict.DELIVERED


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "127.1", "2130706433"])
async def test_this_machine_is_not_reached_however_it_is_written(host: str) -> None:
    with a_receiver() as receiver:
        answer = await post(f"http://{host}:{receiver.port}/", allow="")
        assert answer == Answer(Verdict.REFUSED, "its address is not public")
        assert receiver.received == []


async def test_only_the_addresses_that_are_allowed_are_connected_to() -> None:
    with a_receiver() as receiver:
        url = f"http://mixed.example:{receiver.port}/"
        find = resolving(["10.255.255.1", "::1", "127.0.0.1"])
        answer = await post(url, allow="127.0.0.1", find=find)
        assert answer.verdict is Verdict.DELIVERED
        assert receiver.received[0].headers["host"] == f"mixed.example:{receiver.port}"


async def test_a_name_that_changes_its_address_is_checked_each_time() -> None:
    """Between the check and the connection nobody asks again: one look-up serves both."""
    with a_receiver() as receiver:
        url = f"http://rebinding.example:{receiver.port}/"
        find = resolving(["127.0.0.1"], ["127.0.0.2"])
        async with a_sender(allow="127.0.0.1", find=find) as sender:
            first = await sender.post(url, BODY, HEADERS)
            second = await sender.post(url, BODY, HEADERS)
        assert (first.verdict, second.verdict) == (Verdict.DELIVERED, Verdict.REFUSED)
        assert len(receiver.received) == 1


async def test_a_look_up_that_hangs_costs_its_time_and_logs_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def find(host: str, port: int) -> Any:
        await asyncio.sleep(0.4)
        raise OSError("too late")

    answer = await post("http://slow.example/", find=find, timeout_s=0.2)
    assert answer.verdict is Verdict.UNCERTAIN
    await asyncio.sleep(0.5)
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []


async def test_a_name_without_an_address_may_get_one() -> None:
    answer = await post("http://empty.example/", find=resolving([]))
    assert answer == Answer(Verdict.UNCERTAIN, "it has no address")


async def test_own_inboxes_are_reached_wherever_they_are() -> None:
    with a_receiver() as receiver:
        own = f"http://127.0.0.1:{receiver.port}"
        inbox = f"{own}/actors/v2/abc/messages?x-nonce=DEV_1"
        assert (await post(inbox, allow="", own=(own,))).verdict is Verdict.DELIVERED
        assert (await post(f"{own}/admin", allow="", own=(own,))).verdict is Verdict.REFUSED
        assert len(receiver.received) == 1


async def test_many_requests_are_made_side_by_side() -> None:
    with a_receiver(pause_s=0.3) as receiver:
        async with a_sender() as sender:
            began = time.monotonic()
            answers = await asyncio.gather(
                *(sender.post(receiver.url, BODY, HEADERS) for _ in range(40))
            )
        assert {answer.verdict for answer in answers} == {Verdict.DELIVERED}
        assert time.monotonic() - began < 6


async def test_a_request_nobody_waits_for_ends_quietly(caplog: pytest.LogCaptureFixture) -> None:
    with a_receiver(pause_s=0.6) as receiver:
        async with a_sender(timeout_s=0.4) as sender:
            waiting = asyncio.ensure_future(sender.post(receiver.url, BODY, HEADERS))
            await asyncio.to_thread(receiver.wait, 1)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await asyncio.sleep(0.6)
            assert sender._requests == set()
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []


async def test_the_systems_look_up_finds_this_machine_and_no_fantasy() -> None:
    found = await look_up("localhost", 80)
    assert ("127.0.0.1", 80) in [place[:2] for _, place in found]
    with pytest.raises(OSError, match=r"\w"):
        await look_up("nowhere.invalid", 80)
    with pytest.raises(OSError, match="no host's name"):
        await look_up("x" * 64 + ".example", 80)


def certify(directory: Path, name: str) -> Path:
    """Write a key and a certificate for a name, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = directory / "server.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


def speak_tls(receiver: Receiver, certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    receiver.server.socket = context.wrap_socket(receiver.server.socket, server_side=True)


@pytest.mark.parametrize(
    ("name", "verdict"), [("right.example", "delivered"), ("wrong.example", "uncertain")]
)
async def test_a_certificate_must_be_for_the_name_and_not_for_the_address(
    tmp_path: Path, name: str, verdict: str
) -> None:
    certificate = certify(tmp_path, "right.example")
    with a_receiver() as receiver:
        speak_tls(receiver, certificate)
        answer = await post(
            f"https://{name}:{receiver.port}/",
            find=resolving(["127.0.0.1"]),
            ca_certs=str(certificate),
        )
        assert answer.verdict == verdict
        assert len(receiver.received) == (verdict == "delivered")


async def test_a_certificate_of_nobody_is_not_trusted(tmp_path: Path) -> None:
    with a_receiver() as receiver:
        speak_tls(receiver, certify(tmp_path, "right.example"))
        url = f"https://right.example:{receiver.port}/"
        answer = await post(url, find=resolving(["127.0.0.1"]))
        assert answer.verdict is Verdict.UNCERTAIN
        assert receiver.received == []
