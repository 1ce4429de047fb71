"""The command line over HTTPS, and what ``abaco doctor`` says of certificates."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from datetime import timedelta

import pytest

from abaco.cli import tls_checks
from abaco.cli.findings import Level
from abaco.config import Settings
from tests.support.certificates import Pair
from tests.support.stub_api import serve_stub
from tests.unit.cli.conftest import an_actor


@pytest.fixture
def pair(tmp_path):
    return Pair(tmp_path / "tls")


@pytest.fixture
def secure(pair):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    with serve_stub(context) as stub:
        stub.answer("GET", "/actors", [an_actor()])
        yield stub


class TestClient:
    @pytest.mark.parametrize(
        "words",
        [
            ["--ca", "{ca}", "actors", "list", "--json"],
            ["actors", "list", "--json", "--ca", "{ca}"],
        ],
    )
    def test_an_authority_that_is_named(self, run, secure, pair, words):
        words = [word.format(ca=pair.ca) for word in words]
        result = run(*words, ABACO_URL=secure.url)
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)[0]["id"] == "a1"

    def test_or_in_the_environment(self, run, secure, pair):
        assert run("actors", "list", ABACO_URL=secure.url, ABACO_CA=str(pair.ca)).exit_code == 0

    def test_or_that_of_openssl(self, run, secure, pair):
        result = run("actors", "list", ABACO_URL=secure.url, SSL_CERT_FILE=str(pair.ca))
        assert result.exit_code == 0, result.output

    def test_a_server_nobody_vouches_for(self, run, secure):
        result = run("actors", "list", ABACO_URL=secure.url)
        assert result.exit_code == 1
        assert f"{secure.url} is not trusted: unable to get local issuer" in result.stderr
        assert "--ca or ABACO_CA" in result.stderr
        assert secure.asked == []

    def test_a_certificate_for_another_name(self, run, secure, pair, tmp_path):
        result = run("actors", "list", ABACO_URL=secure.url, ABACO_CA=str(Pair(tmp_path / "o").ca))
        assert result.exit_code == 1
        pair.names = ["elsewhere.example.org"]
        pair.renew()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        with serve_stub(context) as other:
            result = run("actors", "list", ABACO_URL=other.url, ABACO_CA=str(pair.ca))
            named = other.url.replace("127.0.0.1", "localhost")
            by_name = run("actors", "list", ABACO_URL=named, ABACO_CA=str(pair.ca))
        assert "IP address mismatch" in result.stderr
        assert "Hostname mismatch" in by_name.stderr
        assert ".." not in by_name.stderr
        for answer in (result, by_name):
            assert "by a name its certificate has (--url" in answer.stderr
            assert "ABACO_CA" not in answer.stderr

    def test_an_https_server_behind_an_http_url(self, run, secure):
        result = run("actors", "list", ABACO_URL=secure.url.replace("https:", "http:"))
        assert result.exit_code == 1
        assert "If it speaks HTTPS, its URL begins with https://" in result.stderr

    def test_something_else_behind_an_https_url(self, run, pair):
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def answer():
                connection, _ = listener.accept()
                with connection:
                    connection.recv(1000)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

            thread = threading.Thread(target=answer)
            thread.start()
            url = f"https://127.0.0.1:{listener.getsockname()[1]}"
            result = run("actors", "list", ABACO_URL=url, ABACO_CA=str(pair.ca))
            thread.join()
        assert result.exit_code == 1
        assert "is it an http URL?" in result.stderr

    @pytest.mark.parametrize(
        ("content", "text"),
        [(None, "cannot be read: No such file"), ("hello", "has no certificate in PEM form")],
    )
    def test_a_file_that_is_no_authority(self, run, secure, tmp_path, content, text):
        path = tmp_path / "x.pem"
        if content is not None:
            path.write_text(content)
        result = run("actors", "list", "--ca", str(path), ABACO_URL=secure.url)
        assert result.exit_code == 2
        assert text in result.stderr
        assert str(path) in result.stderr

    def test_which_nobody_needs_with_http(self, run, stub):
        stub.answer("GET", "/actors", [])
        assert run("actors", "list", "--ca", "/no/such/file").exit_code == 0


class TestDoctor:
    def settings(self, pair, **runtime):
        web = {"tls_certificate": pair.certificate, "tls_key": pair.key}
        return Settings(web=web, runtime=runtime)

    def find(self, pair):
        (finding,) = tls_checks.check_certificate(self.settings(pair))
        return finding

    def test_nothing_is_said_of_plain_http(self):
        assert list(tls_checks.check_certificate(Settings())) == []
        assert list(tls_checks.check_bundle(Settings())) == []

    @pytest.mark.parametrize(
        ("age_days", "level", "text"),
        [
            (0, Level.OK, "is good until"),
            (80, Level.WARNING, "expires on"),
            (91, Level.ERROR, "has expired on"),
            (-1, Level.ERROR, "is not valid before"),
        ],
    )
    def test_its_time(self, pair, age_days, level, text):
        pair.renew(age=timedelta(days=age_days))
        finding = self.find(pair)
        assert (finding.check, finding.level) == ("tls", level)
        assert text in finding.what
        assert bool(finding.remedy) == (level is not Level.OK)

    def test_what_cannot_be_served(self, pair):
        pair.key.chmod(0o666)
        finding = self.find(pair)
        assert finding.level is Level.ERROR
        assert "everybody may read it" in finding.what
        assert "scripts/certificate" in finding.remedy

    def test_the_bundle(self, pair):
        (finding,) = tls_checks.check_bundle(self.settings(pair, actor_ca_bundle=pair.ca))
        assert (finding.level, finding.what) == (Level.OK, "containers trust 1 authorities")
        pair.ca.chmod(0o600)
        (finding,) = tls_checks.check_bundle(self.settings(pair, actor_ca_bundle=pair.ca))
        assert (finding.level, finding.remedy[:9]) == (Level.ERROR, "[runtime]")

    def test_base_urls_the_sdk_cannot_use(self):
        web = {"default_api_server": "https://a.example.org", "dev_api_server": "http://b:1"}
        (finding,) = tls_checks.check_api_servers(Settings(web=web))
        assert finding.level is Level.WARNING
        assert "http://b:1: it is not https, it names a port" in finding.what
