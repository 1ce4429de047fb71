"""Certificates for tests, made as ``scripts/certificate`` makes them."""

from __future__ import annotations

import importlib.util
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

from cryptography.hazmat.primitives.asymmetric import ec


def _load_script() -> ModuleType:
    path = Path(__file__).parents[2] / "scripts" / "certificate.py"
    spec = importlib.util.spec_from_file_location("certificate_script", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


script = _load_script()


class Pair:
    """A server's certificate and key on disk, and the authority that clients trust.

    Args:
        directory: Of all files.
        names: What clients call the server.

    """

    def __init__(self, directory: Path, *names: str) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.names = list(names) or ["localhost", "127.0.0.1"]
        self.certificate, self.key = directory / "server.pem", directory / "server.key"
        self.ca = directory / "ca.pem"
        self._signer = ec.generate_private_key(ec.SECP256R1())
        self._authority = script.make_authority(self._signer, datetime.now(UTC))
        script._save(directory, "ca", self._authority, self._signer)
        self.renew()

    def renew(self, *, days: int = 90, age: timedelta = timedelta(0)) -> int:
        """Put another certificate in place; return its serial number.

        Args:
            days: It is good for.
            age: How long it has been there; negative for one whose time has not come.

        """
        key = ec.generate_private_key(ec.SECP256R1())
        began = datetime.now(UTC).replace(microsecond=0) - age
        made = script.make_server(key, self.names, self._authority, self._signer, began, days)
        script._save(self.directory, "server", made, key)
        return int(made.serial_number)

    def settings(self) -> dict[str, str]:
        """What a server with this certificate is told."""
        return {"web.tls_certificate": str(self.certificate), "web.tls_key": str(self.key)}

    def client(self) -> ssl.SSLContext:
        """What a client that trusts the authority verifies with."""
        return ssl.create_default_context(cafile=self.ca)
