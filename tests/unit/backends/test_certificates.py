"""Certificates: what can be served, what is told about it, and how a renewed one is taken over."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from prometheus_client import REGISTRY

from abaco.errors import ConfigError
from abaco.settings import WebSettings
from backends import certificates
from backends.certificates import (
    ServedCertificate,
    check_bundle,
    open_certificate,
    read_certificate,
)
from tests.support.certificates import Pair
from tests.support.records import SteppedClock

PEM, PKCS8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8


@pytest.fixture
def pair(tmp_path):
    return Pair(tmp_path / "tls")


def fault_of(pair):
    with pytest.raises(ConfigError) as caught:
        read_certificate(pair.certificate, pair.key)
    return caught.value.message


def shake(client, server):
    """Shake hands; return the version that was agreed to."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(back, there, server_hostname="localhost"),
        server.wrap_bio(there, back, server_side=True),
    ]
    for end in ends * 3:
        with contextlib.suppress(ssl.SSLWantReadError):
            end.do_handshake()
    return ssl.TLSVersion[ends[0].version().replace(".", "_")]


class TestReading:
    def test_a_pair_is_served_with_nothing_below_tls_1_2(self, pair):
        found = read_certificate(pair.certificate, pair.key)
        assert found.context.minimum_version is ssl.TLSVersion.TLSv1_2
        assert found.fault(datetime.now(UTC)) == ""
        ciphers = [one["name"] for one in found.context.get_ciphers()]
        assert ciphers
        assert all("GCM" in name or "CHACHA20" in name for name in ciphers)
        assert all(name.startswith(("TLS_", "ECDHE-")) for name in ciphers)

    @pytest.mark.parametrize(
        "make",
        [
            lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
            lambda: ec.generate_private_key(ec.SECP384R1()),
            ed25519.Ed25519PrivateKey.generate,
        ],
        ids=["RSA", "P-384", "Ed25519"],
    )
    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    def test_keys_of_other_kinds_serve_too(self, pair, monkeypatch, make, version):
        key = make()
        with monkeypatch.context() as patched:
            patched.setattr(ec, "generate_private_key", lambda curve: key)
            pair.renew()
        client = pair.client()
        client.maximum_version = version
        assert shake(client, read_certificate(pair.certificate, pair.key).context) == version

    @pytest.mark.parametrize("which", ["certificate", "key"])
    def test_a_file_that_is_missing_is_named(self, pair, which):
        path = getattr(pair, which)
        path.unlink()
        assert (
            fault_of(pair) == f"web.tls_{which}: {path} cannot be read: No such file or directory"
        )

    @pytest.mark.parametrize("which", ["certificate", "key"])
    @pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff\x00", b"-----BEGIN X-----\n"])
    def test_a_file_that_is_something_else(self, pair, which, content):
        getattr(pair, which).write_bytes(content)
        assert "in PEM form" in fault_of(pair)
        assert fault_of(pair).startswith(f"web.tls_{which}: ")

    def test_a_key_is_no_certificate(self, pair):
        shutil.copy(pair.key, pair.certificate)
        assert "has no certificate in PEM form" in fault_of(pair)

    def test_a_key_of_another_certificate(self, pair, tmp_path):
        shutil.copy(Pair(tmp_path / "other").key, pair.key)
        assert "is not the key of the certificate" in fault_of(pair)

    def test_a_key_that_everybody_may_read(self, pair):
        pair.key.chmod(0o644)
        assert "chmod 600" in fault_of(pair)
        pair.key.chmod(0o640)
        assert read_certificate(pair.certificate, pair.key)

    def test_a_key_with_a_passphrase_is_not_asked_for(self, pair):
        key = serialization.load_pem_private_key(pair.key.read_bytes(), None)
        sealed = serialization.BestAvailableEncryption(b"secret")
        pair.key.write_bytes(key.private_bytes(PEM, PKCS8, sealed))
        assert "passphrase" in fault_of(pair)
        assert "secret" not in fault_of(pair)

    def test_a_key_that_can_be_broken(self, pair, monkeypatch):
        weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)
        monkeypatch.setattr(ec, "generate_private_key", lambda curve: weak)
        pair.renew()
        assert "cannot be served" in fault_of(pair)


class TestTimes:
    @pytest.mark.parametrize(
        ("days", "age_days", "text", "is_valid"),
        [
            (90, 0, "", True),
            (90, 75, "", True),
            (90, 77, "expires on", True),
            (90, 91, "has expired on", False),
            (90, -1, "is not valid before", False),
            # one that lives for days is warned about in its last quarter only
            (6, 4, "", True),
            (6, 5, "expires on", True),
        ],
    )
    def test_what_is_said(self, pair, days, age_days, text, is_valid):
        pair.renew(days=days, age=timedelta(days=age_days))
        found = read_certificate(pair.certificate, pair.key)
        now = datetime.now(UTC)
        assert found.is_valid(now) is is_valid
        assert found.fault(now).startswith(text)
        assert bool(found.fault(now)) == bool(text)

    def test_an_end_that_is_near_is_told_once_a_day(self, pair, caplog):
        clock = SteppedClock(datetime.now(UTC))
        pair.renew(days=10)
        with caplog.at_level(logging.WARNING):
            served = ServedCertificate(pair.certificate, pair.key, clock)
            for _ in range(3):
                served._warn()
            clock.advance(9 * 86_400)
            for _ in range(3):
                served._warn()
            clock.advance(86_400)
            served._warn()
        told = [record.getMessage() for record in caplog.records]
        assert [text.rpartition("server.pem ")[2].partition(" on")[0] for text in told] == [
            "expires",
            "has expired",
        ]

    def test_the_end_is_a_metric(self, pair):
        pair.renew(days=50)
        ServedCertificate(pair.certificate, pair.key, SteppedClock(datetime.now(UTC)))
        end = REGISTRY.get_sample_value(
            "abaco_certificate_expiry_timestamp_seconds", {"key": "web.tls_certificate"}
        )
        assert end is not None
        left_s = end - datetime.now(UTC).timestamp()
        assert left_s == pytest.approx(50 * 86_400, abs=60)


class TestRenewal:
    @pytest.fixture
    def served(self, pair):
        made = ServedCertificate(pair.certificate, pair.key, SteppedClock(datetime.now(UTC)))
        made.given = []
        made.on_renewal(made.given.append)
        return made

    async def test_nothing_is_done_while_the_files_stay(self, served):
        first = served.context
        await served.look()
        assert (served.context, served.given) == (first, [])

    async def test_a_renewed_one_is_taken_over(self, served, pair, caplog):
        caplog.set_level(logging.INFO)
        first = served.context
        pair.renew()
        await served.look()
        assert served.given == [served.context]
        assert served.context is not first
        assert "a renewed certificate is served" in caplog.text
        await served.look()
        assert len(served.given) == 1

    async def test_half_a_renewal_is_waited_for(self, served, pair, tmp_path, caplog):
        old = tmp_path / "old.key"
        shutil.copy(pair.key, old)
        first = served.context
        pair.renew()
        shutil.copy(pair.key, tmp_path / "new.key")
        old.replace(pair.key)
        await served.look()
        assert (served.context, served.given) == (first, [])
        assert "is not the key of the certificate" in caplog.text
        (tmp_path / "new.key").replace(pair.key)
        pair.key.chmod(0o600)
        await served.look()
        assert len(served.given) == 1

    async def test_files_that_are_gone_end_nothing(self, served, pair, caplog):
        pair.certificate.unlink()
        await served.look()
        assert served.given == []
        assert "No such file" in caplog.text
        pair.renew()
        await served.look()
        assert len(served.given) == 1

    async def test_it_looks_by_itself(self, served, pair, monkeypatch):
        monkeypatch.setattr(certificates, "LOOK_INTERVAL_S", 0.01)
        is_given = asyncio.Event()
        served.on_renewal(lambda context: is_given.set())
        task = asyncio.create_task(served.run())
        pair.renew()
        async with asyncio.timeout(5):
            await is_given.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def test_there_is_none_unless_one_is_named(pair):
    assert open_certificate(WebSettings(), SteppedClock()) is None
    web = WebSettings(tls_certificate=pair.certificate, tls_key=pair.key)
    assert open_certificate(web, SteppedClock(datetime.now(UTC))) is not None


class TestBundle:
    def test_authorities_are_counted(self, pair, tmp_path):
        both = tmp_path / "both.pem"
        both.write_bytes(pair.ca.read_bytes() + Pair(tmp_path / "other").ca.read_bytes())
        assert check_bundle(pair.ca) == 1
        assert check_bundle(both) == 2

    @pytest.mark.parametrize(
        ("spoil", "text"),
        [
            (lambda path: path.unlink(), "cannot be read: No such file or directory"),
            (lambda path: path.write_text(""), "has no certificate in PEM form"),
            (lambda path: path.write_text("hello"), "has no certificate in PEM form"),
            (lambda path: path.chmod(0o640), "containers cannot read it; chmod 644"),
            (lambda path: (path.unlink(), path.mkdir()), "is no file"),
        ],
    )
    def test_what_is_none(self, pair, spoil, text):
        spoil(pair.ca)
        with pytest.raises(ConfigError) as caught:
            check_bundle(pair.ca)
        assert text in caught.value.message
        assert caught.value.message.startswith("runtime.actor_ca_bundle: ")
