"""Reading the configured key; the modes themselves are tested over HTTP."""

import base64
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from abaco.config import Settings
from abaco.errors import ConfigError
from handlers.auth import OpenAccess, TokenAccess, load_key, make_authenticator


def encode(key, encoding=Encoding.DER):
    return base64.b64encode(
        key.public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)
    ).decode()


@pytest.fixture(scope="module")
def key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def test_an_rsa_key_is_read(key):
    assert load_key(encode(key)).public_numbers() == key.public_key().public_numbers()


def test_other_keys_are_refused(key):
    bad = {
        "": "base64",
        "not base64!": "base64",
        base64.b64encode(b"not der").decode(): "base64",
        encode(key, Encoding.PEM): "base64",
        encode(ec.generate_private_key(ec.SECP256R1())): "RSA",
    }
    for text, words in bad.items():
        with pytest.raises(ConfigError, match=words):
            load_key(text)


def test_the_mode_decides(key):
    def now():
        return datetime.now(UTC)

    assert isinstance(make_authenticator(Settings(), now), OpenAccess)
    jwt = Settings(web={"access_control": "jwt", "apim_public_key": encode(key)})
    assert isinstance(make_authenticator(jwt, now), TokenAccess)
