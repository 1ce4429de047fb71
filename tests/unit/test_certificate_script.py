"""scripts/certificate: what it makes, and what it leaves alone."""

from __future__ import annotations

import ssl
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from backends.certificates import check_bundle, read_certificate

SCRIPT = Path(__file__).parents[2] / "scripts" / "certificate.py"
NAMES = ("ca.key", "ca.pem", "server.key", "server.pem")


def run(*words):
    command = [sys.executable, str(SCRIPT), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def contents(directory):
    return {name: (directory / name).read_bytes() for name in NAMES}


@pytest.fixture
def made(tmp_path):
    directory = tmp_path / "new" / "tls"
    result = run(directory, "abaco.example.org", "192.0.2.7", "--days", "30")
    assert result.returncode == 0, result.stderr
    assert f"[web] tls_certificate: {directory / 'server.pem'}" in result.stdout
    return directory


def shake(directory, name):
    """Shake hands with a server that uses the pair, as a client that trusts its authority."""
    server = read_certificate(directory / "server.pem", directory / "server.key").context
    client = ssl.create_default_context(cafile=directory / "ca.pem")
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(back, there, server_hostname=name),
        server.wrap_bio(there, back, server_side=True),
    ]
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return ends[0].version()


@pytest.mark.parametrize("name", ["abaco.example.org", "192.0.2.7"])
def test_a_client_trusts_what_it_makes(made, name):
    assert shake(made, name) == "TLSv1.3"


@pytest.mark.parametrize("name", ["example.org", "x.abaco.example.org", "192.0.2.8"])
def test_under_no_other_name(made, name):
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(made, name)


def test_the_server_accepts_it_for_itself_and_for_containers(made):
    found = read_certificate(made / "server.pem", made / "server.key")
    assert found.not_after - datetime.now(UTC) == pytest.approx(
        timedelta(days=30), abs=timedelta(minutes=1)
    )
    assert check_bundle(made / "ca.pem") == 1


def test_keys_are_for_their_owner_alone(made):
    modes = {name: stat.S_IMODE((made / name).stat().st_mode) for name in NAMES}
    assert modes == {"ca.key": 0o600, "server.key": 0o600, "ca.pem": 0o644, "server.pem": 0o644}
    assert sorted(path.name for path in made.iterdir()) == list(NAMES)


def test_the_authority_signs_servers_and_nothing_above_them(made):
    ca = x509.load_pem_x509_certificate((made / "ca.pem").read_bytes())
    limits = ca.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (limits.critical, limits.value.ca, limits.value.path_length) == (True, True, 0)
    assert ca.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


def test_what_is_there_stays(made):
    before = contents(made)
    for names in ([], ["192.0.2.7"], ["192.0.2.7", "abaco.example.org"]):
        result = run(made, *names)
        assert (result.returncode, contents(made)) == (0, before)
        assert (
            "everything is there, made for abaco.example.org, 192.0.2.7, good unt" in result.stdout
        )


def test_what_is_there_for_other_names_stays_and_is_not_passed_off_for_these(made):
    before = contents(made)
    result = run(made, "192.0.2.7", "other.example.org", "::1")
    assert (result.returncode, contents(made)) == (1, before)
    assert "made for abaco.example.org, 192.0.2.7, good until" in result.stderr
    assert "; not for ::1, other.example.org: --force makes it anew" in result.stderr


def test_what_is_over_is_not_passed_off_as_good(made, monkeypatch):
    sys_path = [str(SCRIPT.parent), *sys.path]
    monkeypatch.setattr(sys, "path", sys_path)
    import certificate

    ca, key = certificate._load(made, "ca")
    past = datetime.now(UTC) - timedelta(days=40)
    server = certificate.make_server(key, ["old.example.org"], ca, key, past, 30)
    certificate._save(made, "server", server, key)
    result = run(made)
    assert result.returncode == 1
    assert "which is over: --force makes it anew" in result.stderr


def test_a_server_is_signed_by_the_authority_that_is_there(made):
    before = contents(made)
    for name in ("server.pem", "server.key"):
        (made / name).unlink()
    assert run(made, "two.example.org").returncode == 0
    assert contents(made)["ca.pem"] == before["ca.pem"]
    assert shake(made, "two.example.org")


def test_unless_it_is_forced(made):
    before = contents(made)
    assert run(made, "two.example.org", "--force").returncode == 0
    assert all(before[name] != after for name, after in contents(made).items())
    assert shake(made, "two.example.org")


@pytest.mark.parametrize("name", NAMES)
def test_half_a_pair_is_not_replaced(made, name):
    (made / name).unlink()
    if name.startswith("ca"):
        for other in ("server.pem", "server.key"):
            (made / other).unlink()
    result = run(made, "a.example.org")
    assert result.returncode == 1
    assert "its other half is not" in result.stderr
    assert not (made / name).exists()


@pytest.mark.parametrize("words", [["--help"], ["-h"]])
def test_help_says_what_the_files_are_for(words):
    result = run(*words)
    assert result.returncode == 0
    for word in ("ca.pem", "tls_certificate", "actor_ca_bundle", "--force", "--days", "example:"):
        assert word in result.stdout


@pytest.mark.parametrize("days", ["0", "399", "x"])
def test_a_life_that_clients_refuse_is_refused_here(tmp_path, days):
    result = run(tmp_path, "--days", days)
    assert result.returncode == 2
    assert list(tmp_path.iterdir()) == []


def test_by_default_for_this_machine(tmp_path):
    assert run(tmp_path).returncode == 0
    for name in ("localhost", "127.0.0.1", "::1"):
        assert shake(tmp_path, name)
