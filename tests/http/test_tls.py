"""HTTPS: what the port speaks, what it refuses, and a certificate renewed while it is open."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import struct
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from abaco.app import App
from abaco.errors import ConfigError
from handlers import server
from tests.http.site import jwt_settings
from tests.http.whole import WholeSite, whole_settings
from tests.support.certificates import Pair

GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


class TlsSite(WholeSite):
    """The whole application with a certificate."""

    pair: Pair

    async def connection(
        self, context: ssl.SSLContext | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(
            "127.0.0.1",
            self.port,
            ssl=context or self.pair.client(),
            server_hostname="localhost",
        )

    async def ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(GET)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        return head

    async def serial(self, writer: asyncio.StreamWriter) -> int:
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return x509.load_der_x509_certificate(shown).serial_number


def settings_with(pair: Pair, directory: Path, **web: Any) -> Any:
    found = whole_settings("snake", "memory", directory)
    chosen = jwt_settings(
        "snake", port=0, tls_certificate=pair.certificate, tls_key=pair.key, **web
    ).web
    return found.model_copy(update={"web": chosen})


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path / "tls")


@pytest.fixture
def site(pair: Pair, tmp_path: Path) -> Iterator[TlsSite]:
    opened = TlsSite(settings_with(pair, tmp_path, internal_port=0))
    opened.pair = pair
    opened.open()
    yield opened
    opened.close()


def test_it_answers_those_who_trust_its_authority(site: TlsSite) -> None:
    async def ask() -> tuple[bytes, str, str]:
        reader, writer = await site.connection()
        head = await site.ask(reader, writer)
        seen = writer.get_extra_info("ssl_object")
        writer.close()
        return head, seen.version(), seen.cipher()[0]

    head, version, cipher = site.run(ask())
    assert head.startswith(b"HTTP/1.1 200")
    assert version == "TLSv1.3"
    assert cipher.startswith("TLS_")
    # promised by a certificate that may be one for development: a browser would never forget it
    assert b"strict-transport-security" not in head.lower()


def test_nobody_else_trusts_it(site: TlsSite) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        site.run(site.connection(ssl.create_default_context()))


@pytest.mark.parametrize(
    ("version", "is_spoken"),
    [
        (ssl.TLSVersion.TLSv1, False),
        (ssl.TLSVersion.TLSv1_1, False),
        (ssl.TLSVersion.TLSv1_2, True),
        (ssl.TLSVersion.TLSv1_3, True),
    ],
)
def test_old_protocols_are_not_spoken(
    site: TlsSite, version: ssl.TLSVersion, is_spoken: bool
) -> None:
    context = site.pair.client()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    context.set_ciphers("ALL:@SECLEVEL=0")

    async def connect() -> str:
        _, writer = await site.connection(context)
        writer.close()
        return str(writer.get_extra_info("ssl_object").version())

    if is_spoken:
        assert site.run(connect()) == version.name.replace("_", ".")
    else:
        with pytest.raises(ssl.SSLError):
            site.run(connect())


@pytest.mark.parametrize("cipher", ["AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA256"])
def test_weak_ciphers_are_not_agreed_to(site: TlsSite, cipher: str) -> None:
    context = site.pair.client()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"{cipher}:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        site.run(site.connection(context))


def test_plain_http_is_not_answered(site: TlsSite) -> None:
    async def ask() -> bytes:
        with suppress(ConnectionResetError):  # or an orderly end
            return await site.raw(GET)
        return b""

    assert site.run(ask()) == b""


def test_the_internal_port_stays_plain_and_tells_when_the_certificate_ends(site: TlsSite) -> None:
    site.port, port = site.app.internal_port, site.port
    ask = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    try:
        answer = site.run(site.raw(ask))
    finally:
        site.port = port
    assert answer.startswith(b"HTTP/1.1 200")
    assert b'abaco_certificate_expiry_timestamp_seconds{key="web.tls_certificate"}' in answer


def test_a_renewed_certificate_is_served_without_a_restart(
    site: TlsSite, caplog: pytest.LogCaptureFixture
) -> None:
    (agent,) = [a for a in site.app.supervisor.report() if a.name == "certificate"]
    assert agent.is_running

    async def renew() -> tuple[int, int, bytes, int]:
        reader, writer = await site.connection()
        before = await site.serial(writer)
        await site.ask(reader, writer)
        renewed = site.pair.renew()
        assert site.app.certificate is not None
        await site.app.certificate.look()
        _, later = await site.connection()
        after = await site.serial(later)
        head = await site.ask(reader, writer)  # the open connection goes on
        for each in (writer, later):
            each.close()
        return before, after, head, renewed

    before, after, head, renewed = site.run(renew())
    assert (after, before != after) == (renewed, True)
    assert head.startswith(b"HTTP/1.1 200")


def test_a_client_that_never_shakes_hands_is_let_go(
    site: TlsSite, monkeypatch: pytest.MonkeyPatch, pair: Pair, tmp_path: Path
) -> None:
    monkeypatch.setattr(server, "IDLE_TIMEOUT_S", 0.3)
    hasty = TlsSite(settings_with(pair, tmp_path / "hasty"))
    hasty.pair = pair
    hasty.open()
    try:
        assert hasty.run(hasty.raw(b"", wait_s=5)) == b""
        # half a greeting: the length of a record that does not come
        assert hasty.run(hasty.raw(b"\x16\x03\x01\x02\x00", wait_s=5)) == b""
    finally:
        hasty.close()


def test_connections_reset_before_they_are_accepted_are_no_errors(
    site: TlsSite, caplog: pytest.LogCaptureFixture
) -> None:
    async def hang_up() -> bytes:
        for _ in range(20):  # all while the loop is busy: with this
            with socket.create_connection(("127.0.0.1", site.port)) as knocking:
                knocking.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                knocking.sendall(b"\x16\x03\x01\x02\x00")
        reader, writer = await site.connection()
        head = await site.ask(reader, writer)
        writer.close()
        return head

    with caplog.at_level(logging.WARNING):
        assert site.run(hang_up()).startswith(b"HTTP/1.1 200")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "ended before it began" in caplog.text


def test_connections_that_fail_are_counted_out(
    site: TlsSite, monkeypatch: pytest.MonkeyPatch, pair: Pair, tmp_path: Path
) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 3)
    small = TlsSite(settings_with(pair, tmp_path / "small"))
    small.pair = pair
    small.open()

    async def knock() -> bytes:
        for _ in range(10):
            with suppress(ssl.SSLError):
                await small.connection(ssl.create_default_context())
        reader, writer = await small.connection()
        head = await small.ask(reader, writer)
        writer.close()
        return head

    try:
        assert small.run(knock()).startswith(b"HTTP/1.1 200")
    finally:
        small.close()


async def test_a_certificate_that_cannot_be_served_stops_the_start(
    pair: Pair, tmp_path: Path
) -> None:
    pair.key.write_text("nonsense")
    with pytest.raises(ConfigError, match=r"web\.tls_key"):
        await App(settings_with(pair, tmp_path)).start()


async def test_so_does_a_bundle_that_containers_could_not_read(pair: Pair, tmp_path: Path) -> None:
    settings = whole_settings(
        "snake", "memory", tmp_path, runtime={"actor_ca_bundle": tmp_path / "none.pem"}
    )
    with pytest.raises(ConfigError, match=r"runtime\.actor_ca_bundle"):
        await App(settings).start()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://abaco.example.org", ""),
        ("http://Abaco.example.org/x", "not https, its host has capital letters, it has a path"),
        ("https://abaco.example.org:8443", "it names a port"),
    ],
)
async def test_a_base_url_the_sdk_cannot_use_is_told_at_the_start(
    url: str, told: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = whole_settings("snake", "memory", tmp_path, default_api_server=url)
    with caplog.at_level(logging.INFO):
        app = App(settings)
        await app.start()
        await app.stop()
    lines = [text for text in caplog.messages if "agavepy" in text]
    assert len(lines) == bool(told)
    assert all(told in line and url in line for line in lines)
