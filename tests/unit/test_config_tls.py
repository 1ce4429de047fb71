"""Settings of TLS, of what containers trust, and of names they resolve."""

from __future__ import annotations

import pytest

from abaco.config import load
from abaco.errors import ConfigError
from abaco.settings import EngineSettings


@pytest.fixture
def read(tmp_path):
    def read_text(text, **environment):
        path = tmp_path / "abaco.conf"
        path.write_text(text)
        return load(path, environment=environment)

    return read_text


def fault(read, text):
    with pytest.raises(ConfigError) as caught:
        read(text)
    return caught.value.message


class TestCertificate:
    def test_paths_are_made_absolute(self, read, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        web = read("[web]\ntls_certificate: a.pem\ntls_key: ~/a.key\n").settings.web
        assert web.tls_certificate == tmp_path / "a.pem"
        assert web.tls_key is not None
        assert web.tls_key.is_absolute()

    @pytest.mark.parametrize(
        ("there", "missing"), [("tls_certificate", "tls_key"), ("tls_key", "tls_certificate")]
    )
    def test_one_half_asks_for_the_other(self, read, there, missing):
        text = fault(read, f"[web]\n{there}: /x\n")
        assert text.endswith(f"[web] {missing}: {there} needs it, and the other way round")

    @pytest.mark.parametrize(
        ("text", "url"),
        [
            ("", "http://127.0.0.1:8000"),
            ("port: 9000", "http://127.0.0.1:9000"),
            ("tls_certificate: /c\ntls_key: /k", "https://127.0.0.1:8000"),
            ("tls_certificate: /c\ntls_key: /k\nport: 443", "https://127.0.0.1:443"),
            ("tls_certificate: /c\ntls_key: /k\ndefault_api_server: https://a", "https://a"),
        ],
    )
    def test_the_base_url_follows(self, read, text, url):
        assert read(f"[web]\n{text}\n").settings.web.default_api_server == url

    def test_every_base_url_there_is(self, read):
        text = "[web]\ndefault_api_server: https://a\ndev_api_server: https://b\n"
        web = read(f"{text}prod_api_server: https://a\n").settings.web
        assert web.api_servers == ["https://a", "https://b"]


class TestBundle:
    def test_an_older_file_is_effective(self, read):
        found = read("[runtime]\nactor_ca_bundle: /etc/ssl/ours.pem\n")
        assert str(found.settings.runtime.actor_ca_bundle) == "/etc/ssl/ours.pem"
        assert not found.unused
        assert read("[runtime]\nactor_ca_bundle:\n").settings.runtime.actor_ca_bundle is None


class TestExtraHosts:
    def test_none(self, read):
        assert read("[engine]\nextra_hosts:\n").settings.engine.extra_hosts == ()

    def test_names_with_their_addresses(self, read):
        text = "[engine]\nextra_hosts: a.example.org:192.0.2.7 , b:host-gateway,c: ::1 ,\n"
        found = read(text).settings.engine.extra_hosts
        assert found == ("a.example.org:192.0.2.7", "b:host-gateway", "c:::1")

    @pytest.mark.parametrize(
        ("item", "because"),
        [
            ("a", "no name stands before a colon"),
            (":192.0.2.7", "no name stands before a colon"),
            ("a b:192.0.2.7", "no name stands before a colon"),
            ("-a:192.0.2.7", "no name stands before a colon"),
            ("a..b:192.0.2.7", "no name stands before a colon"),
            (f"{'a.' * 127}a:192.0.2.7", "no name stands before a colon"),
            ("a:192.0.2.256", "'192.0.2.256' is no address"),
            ("a:host", "'host' is no address"),
            ("a:", "'' is no address"),
        ],
    )
    def test_an_item_that_is_none_is_named(self, read, item, because):
        text = fault(read, f"[engine]\nextra_hosts: ok:192.0.2.1, {item}\n")
        assert "[engine] extra_hosts" in text
        assert because in text
        assert "allowed: <name>:<address> or <name>:host-gateway" in text

    def test_they_are_shown_as_they_are_written(self, read):
        shown = read("[engine]\nextra_hosts: a:192.0.2.7,b:host-gateway\n").effective()
        (text,) = [value.text for value in shown if value.key == "extra_hosts"]
        assert text == "a:192.0.2.7, b:host-gateway"
        assert EngineSettings(extra_hosts=text).extra_hosts == ("a:192.0.2.7", "b:host-gateway")
