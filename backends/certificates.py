"""The certificate of the HTTPS port: read, checked, and taken over when it is renewed on disk."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import stat
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from abaco.errors import ConfigError
from abaco.metrics import CERTIFICATE_EXPIRY
from abaco.ports.clock import Clock
from abaco.settings import WebSettings
from backends.apart import Apart

_log = logging.getLogger(__name__)

#: seconds between two looks at the files: no tool that renews certificates tells in a way that
#: works in containers too, and two calls of stat are cheap
LOOK_INTERVAL_S = 60.0
#: seconds between two warnings of the same end
WARN_INTERVAL_S = 86_400.0
#: a certificate that ends sooner is warned about; one with a short life, in its last quarter
WARN_BEFORE = timedelta(days=14)

#: for TLS 1.2; those of 1.3 are all good. Source: Mozilla's "intermediate", version 5.7, less DHE
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"

#: how public keys are compared
_PUBLIC = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo

_CERTIFICATE, _KEY = "web.tls_certificate", "web.tls_key"

#: what tells that a file was replaced
_Stamp = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A certificate that fits its key, ready to serve with."""

    context: ssl.SSLContext
    not_before: datetime
    not_after: datetime

    def fault(self, now: datetime) -> str:
        """Say what is wrong with its times; empty when nothing is."""
        if now < self.not_before:
            return f"is not valid before {self.not_before:%Y-%m-%d %H:%M} UTC"
        if now >= self.not_after:
            return f"has expired on {self.not_after:%Y-%m-%d %H:%M} UTC"
        if self.not_after - now < min(WARN_BEFORE, (self.not_after - self.not_before) / 4):
            return f"expires on {self.not_after:%Y-%m-%d %H:%M} UTC"
        return ""

    def is_valid(self, now: datetime) -> bool:
        """Tell whether clients accept its times."""
        return self.not_before <= now < self.not_after


def read_certificate(certificate: Path, key: Path) -> Certificate:
    """Read certificate and key, and see that they belong together.

    Args:
        certificate: PEM, the server's own first, then those that lead to a known authority.
        key: PEM, without a passphrase.

    Raises:
        ConfigError: Names the file and what is wrong with it.

    """
    own, public = _read_own(certificate)
    if _read_key(key) != public:
        raise ConfigError(f"{_KEY}: {key} is not the key of the certificate {certificate}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:  # a key too weak for this OpenSSL, a broken chain
        raise ConfigError(
            f"{_CERTIFICATE}: {certificate} cannot be served: {error.reason or error}"
        ) from error
    except OSError as error:
        raise ConfigError(f"{_CERTIFICATE}: {certificate}: {error.strerror}") from error
    return Certificate(
        context=context, not_before=own.not_valid_before_utc, not_after=own.not_valid_after_utc
    )


def _read_own(path: Path) -> tuple[x509.Certificate, bytes]:
    """Return the server's own certificate, and its public key."""
    data, _ = _read(_CERTIFICATE, path)
    try:
        own = x509.load_pem_x509_certificates(data)[0]
        return own, own.public_key().public_bytes(*_PUBLIC)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{_CERTIFICATE}: {path} has no certificate in PEM form") from error


def _read_key(path: Path) -> bytes:
    """Return the public half of a private key."""
    data, mode = _read(_KEY, path)
    if mode & stat.S_IROTH:
        raise ConfigError(f"{_KEY}: everybody may read it; chmod 600 {path}")
    try:
        key = serialization.load_pem_private_key(data, password=None)
        return key.public_key().public_bytes(*_PUBLIC)
    except TypeError as error:
        raise ConfigError(f"{_KEY}: {path} needs a passphrase, which nobody could type") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{_KEY}: {path} has no private key in PEM form") from error


def _read(setting: str, path: Path) -> tuple[bytes, int]:
    """Return content and mode of one and the same file."""
    try:
        with path.open("rb") as file:
            return file.read(), os.fstat(file.fileno()).st_mode
    except OSError as error:
        raise ConfigError(f"{setting}: {path} cannot be read: {error.strerror}") from error


class ServedCertificate:
    """The certificate in use. A renewed one serves the connections that come after it.

    Args:
        certificate: File.
        key: File.
        clock: Tells how long the certificate is still good.

    Raises:
        ConfigError: There is none to begin with.

    """

    def __init__(self, certificate: Path, key: Path, clock: Clock) -> None:
        self._files = certificate, key
        self._clock = clock
        self._apart = Apart("certificate", count=1, timeout_s=LOOK_INTERVAL_S)
        self._stamp, self._present = self._read()
        self._warn_at_s = float("-inf")
        self._serve: Callable[[ssl.SSLContext], None] = lambda context: None
        self._take(self._present)

    @property
    def context(self) -> ssl.SSLContext:
        """For connections from now on."""
        return self._present.context

    def on_renewal(self, serve: Callable[[ssl.SSLContext], None]) -> None:
        """Name who is to be given the context of each renewed certificate."""
        self._serve = serve

    async def run(self) -> None:
        """Look at the files until cancelled."""
        while True:
            await asyncio.sleep(LOOK_INTERVAL_S)
            await self.look()

    async def look(self) -> None:
        """Take over what was replaced. What cannot be used is told, and the old one goes on."""
        try:
            found = await self._apart.call(self._read_changed)
        except (ConfigError, TimeoutError) as error:
            # halfway through a renewal, certificate and key do not fit; the next look finds both
            _log.warning("the certificate is not taken over: %s", error)
        else:
            if found is not None:
                self._stamp, renewed = found
                self._warn_at_s = float("-inf")
                self._take(renewed)
                _log.info("a renewed certificate is served, valid until %s", renewed.not_after)
        self._warn()

    def _read_changed(self) -> tuple[_Stamp, Certificate] | None:
        return None if self._look_up() == self._stamp else self._read()

    def _read(self) -> tuple[_Stamp, Certificate]:
        before = self._look_up()  # first: what is replaced while it is read is read again
        return before, read_certificate(*self._files)

    def _look_up(self) -> _Stamp:
        found = []
        for setting, path in zip((_CERTIFICATE, _KEY), self._files, strict=True):
            try:
                seen = path.stat()
            except OSError as error:
                raise ConfigError(f"{setting}: {path}: {error.strerror}") from error
            found.append((seen.st_ino, seen.st_mtime_ns, seen.st_size))
        return tuple(found)

    def _take(self, certificate: Certificate) -> None:
        self._present = certificate
        CERTIFICATE_EXPIRY.labels(_CERTIFICATE).set(certificate.not_after.timestamp())
        self._serve(certificate.context)
        self._warn()

    def _warn(self) -> None:
        fault = self._present.fault(self._clock.now())
        if fault and self._clock.monotonic() >= self._warn_at_s:
            _log.warning("the certificate %s %s", self._files[0], fault)
            self._warn_at_s = self._clock.monotonic() + WARN_INTERVAL_S


def open_certificate(web: WebSettings, clock: Clock) -> ServedCertificate | None:
    """Open what ``[web] tls_certificate`` names; None when the port speaks plain HTTP.

    Raises:
        ConfigError: It cannot be used.

    """
    if web.tls_certificate is None or web.tls_key is None:
        return None
    return ServedCertificate(web.tls_certificate, web.tls_key, clock)


def check_bundle(path: Path) -> int:
    """Return how many certificates of authorities the bundle for containers has.

    Raises:
        ConfigError: It is no bundle, or the users of containers could not read it.

    """
    setting = "runtime.actor_ca_bundle"
    try:
        seen = path.stat()
        if not stat.S_ISREG(seen.st_mode):
            raise ConfigError(f"{setting}: {path} is no file")
        if not seen.st_mode & stat.S_IROTH:
            raise ConfigError(f"{setting}: containers cannot read it; chmod 644 {path}")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cafile=path)
    except ssl.SSLError as error:
        raise ConfigError(f"{setting}: {path} has no certificate in PEM form") from error
    except OSError as error:
        raise ConfigError(f"{setting}: {path} cannot be read: {error.strerror}") from error
    return context.cert_store_stats()["x509"]
