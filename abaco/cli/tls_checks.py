"""What ``abaco doctor`` says of certificates, and of the URL that containers call."""

from __future__ import annotations

from collections.abc import Iterator

from abaco.cli.findings import Finding, Level, failed
from abaco.config import Settings
from abaco.domain.api_server import sdk_faults
from abaco.errors import ConfigError
from backends import certificates
from backends.system import SystemClock


def check_certificate(settings: Settings) -> Iterator[Finding]:
    """Check that the certificate fits its key, and that its time has come and is not over."""
    web = settings.web
    if web.tls_certificate is None or web.tls_key is None:
        return
    try:
        found = certificates.read_certificate(web.tls_certificate, web.tls_key)
    except ConfigError as error:
        yield failed(
            "tls",
            error,
            "[web] tls_certificate and tls_key; scripts/certificate makes a pair to try",
        )
        return
    now = SystemClock().now()
    level = Level.OK
    if fault := found.fault(now):
        level = Level.WARNING if found.is_valid(now) else Level.ERROR
    yield Finding(
        check="tls",
        level=level,
        what=f"{web.tls_certificate} {fault or f'is good until {found.not_after:%Y-%m-%d}'}",
        remedy="renew it; the server takes it over by itself" if fault else "",
    )


def check_api_servers(settings: Settings) -> Iterator[Finding]:
    """Check that programs with the published SDK can use the URLs that containers are told."""
    for url in settings.web.api_servers:
        if faults := sdk_faults(url):
            yield Finding(
                check="sdk",
                level=Level.WARNING,
                what=f"programs that use agavepy cannot call {url}: {', '.join(faults)}",
                remedy="if there are any: HTTPS on port 443, under a name (docs/tls.rst)",
            )


def check_bundle(settings: Settings) -> Iterator[Finding]:
    """Check that containers can be given the certificates they are to trust."""
    path = settings.runtime.actor_ca_bundle
    if path is None:
        return
    try:
        count = certificates.check_bundle(path)
    except ConfigError as error:
        yield failed("tls", error, "[runtime] actor_ca_bundle: a PEM file that everybody may read")
        return
    yield Finding(check="tls", level=Level.OK, what=f"containers trust {count} authorities")
