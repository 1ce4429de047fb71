"""Make a certificate authority for development, and a server certificate that it signed.

The files in DIRECTORY: ca.pem (for clients, and [runtime] actor_ca_bundle), ca.key, server.pem and
server.key ([web] tls_certificate and tls_key). Files that are there stay: a second run signs a
missing server certificate with the authority it finds, and else does nothing but tell for which
names the one is that is there, and until when. It fails when that is not what it was asked for.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

THIS_MACHINE = ["localhost", "127.0.0.1", "::1"]
#: browsers and Apple's systems refuse server certificates that are good for longer
MAX_DAYS = 398
CA_DAYS = 3650

Key = ec.EllipticCurvePrivateKey


def arguments(words: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/certificate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: scripts/certificate tls abaco.example.org 192.0.2.7",
    )
    parser.add_argument("directory", type=Path, metavar="DIRECTORY", help="made if need be")
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="what clients call the server: names and addresses (default: this machine)",
    )
    parser.add_argument("--days", type=int, default=365, help=f"1 to {MAX_DAYS} (default: 365)")
    parser.add_argument(
        "--force", action="store_true", help="make everything anew, the authority too"
    )
    found = parser.parse_args(words)
    if not 1 <= found.days <= MAX_DAYS:
        parser.error(f"--days is 1 to {MAX_DAYS}")
    return found


def keep(directory: Path, server: x509.Certificate, wanted: list[str]) -> str:
    """Tell about the server certificate that is there; fails unless it is good for the names."""
    extension = server.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    names = [str(name.value) for name in extension.value]
    until = server.not_valid_after_utc
    told = f"{directory}: everything is there, made for {', '.join(names)}, good until {until:%F}"
    advice = (
        "--force makes it anew, with a new authority; without server.pem and server.key only it"
    )
    if missing := {str(_alternative(name).value) for name in wanted} - set(names):
        raise SystemExit(f"{told}; not for {', '.join(sorted(missing))}: {advice}")
    if until < datetime.now(UTC):
        raise SystemExit(f"{told}, which is over: {advice}")
    return told


def make_authority(key: Key, now: datetime) -> x509.Certificate:
    """Make a certificate that may sign those of servers and nothing above them."""
    name = _name("Abaco development authority")
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=True, crl_sign=True,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
    return (
        _begin(name, name, key, now, CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )


def make_server(
    key: Key, names: list[str], authority: x509.Certificate, signer: Key, now: datetime, days: int
) -> x509.Certificate:
    """Make a server's certificate."""
    found = [_alternative(name) for name in names]
    signed_by = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    return (
        _begin(_name(names[0][:64]), authority.subject, key, now, days)
        .add_extension(x509.SubjectAlternativeName(found), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(signed_by, critical=False)
        .sign(signer, hashes.SHA256())
    )


def _begin(
    subject: x509.Name, issuer: x509.Name, key: Key, now: datetime, days: int
) -> x509.CertificateBuilder:
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))  # clocks differ
        .not_valid_after(now + timedelta(days=days))
        .add_extension(own, critical=False)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write(path: Path, data: bytes, mode: int) -> None:
    """Put a file there whole, never readable by more than it should be."""
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(data)
    part.replace(path)


def _save(directory: Path, name: str, certificate: x509.Certificate, key: Key) -> None:
    plain = serialization.NoEncryption()
    form = serialization.Encoding.PEM
    text = key.private_bytes(form, serialization.PrivateFormat.PKCS8, plain)
    _write(directory / f"{name}.key", text, 0o600)
    _write(directory / f"{name}.pem", certificate.public_bytes(form), 0o644)


def _load(directory: Path, name: str) -> tuple[x509.Certificate, Key] | None:
    """Read a pair; None when it is not there."""
    files = directory / f"{name}.pem", directory / f"{name}.key"
    there = [path for path in files if path.exists()]
    if len(there) == 1:
        raise SystemExit(f"{there[0]} is there and its other half is not; --force makes both anew")
    if not there:
        return None
    try:
        certificate = x509.load_pem_x509_certificate(files[0].read_bytes())
        key = serialization.load_pem_private_key(files[1].read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise SystemExit(f"{files[0]} and {files[1]} are not what was made here") from error
    if not isinstance(key, Key):
        raise SystemExit(f"{files[1]} was not made here")
    return certificate, key


def main(words: list[str]) -> None:
    """Make what is missing, and say where it is."""
    given = arguments(words)
    given.directory.mkdir(parents=True, exist_ok=True)
    there = None if given.force else _load(given.directory, "server")
    if there is not None:
        sys.stdout.write(f"{keep(given.directory, there[0], given.names)}\n")
        return
    names = given.names or THIS_MACHINE
    now = datetime.now(UTC).replace(microsecond=0)
    authority = None if given.force else _load(given.directory, "ca")
    if authority is None:
        key = ec.generate_private_key(ec.SECP256R1())
        authority = make_authority(key, now), key
        _save(given.directory, "ca", *authority)
    key = ec.generate_private_key(ec.SECP256R1())
    server = make_server(key, names, *authority, now, given.days)
    _save(given.directory, "server", server, key)
    sys.stdout.write(
        f"made for {', '.join(names)}, good for {given.days} days:\n"
        f"  [web] tls_certificate: {given.directory / 'server.pem'}\n"
        f"  [web] tls_key: {given.directory / 'server.key'}\n"
        f"  [runtime] actor_ca_bundle, and abaco --ca: {given.directory / 'ca.pem'}\n"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
