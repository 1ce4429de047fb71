"""The file with the keys of own tokens, and the tokens they sign."""

import json
from datetime import UTC, datetime, timedelta

import jwt
import pytest

from abaco.errors import ConfigError, UnauthenticatedError
from abaco.ports.tokens import Identity
from backends.tokens.own import MAX_VALID, KeyFile, OwnTokens

NOW = datetime.now(UTC)
JANE = Identity(tenant="DEV", user="jane", roles=frozenset({"Internal/everyone"}))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "token-keys.json"


def opened(path):
    keys = KeyFile(path)
    keys.open(NOW)
    return keys


def kids(path):
    return [key["kid"] for key in json.loads(path.read_text())["keys"]]


def tokens(keys, now=NOW):
    return OwnTokens(keys, lambda: now, lambda tenant: f"https://{tenant}.example.org")


async def test_a_token_says_who(path):
    own = tokens(opened(path))
    assert await own.identify(own.mint(JANE, timedelta(hours=1))) == JANE


def test_the_first_key_is_made_once(path):
    first = opened(path).signing_key()[0]
    assert opened(path).signing_key()[0] == first
    assert kids(path) == [first]


def test_the_file_and_its_folder_are_for_the_owner_alone(path):
    opened(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_file_that_others_may_read_is_refused(path):
    opened(path)
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        opened(path)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "5", '{"keys": 5}', '{"keys": [{"kid": "a"}]}', '{"keys": []}']
)
def test_what_is_no_set_of_keys_is_refused(path, text):
    opened(path)
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"token-keys\.json"):
        opened(path)


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="data_dir"):
        opened(tmp_path / "file" / "keys.json")


async def test_rotation_keeps_old_keys_until_their_last_token_has_expired(path):
    keys = opened(path)
    first = keys.signing_key()[0]
    token = tokens(keys).mint(JANE, MAX_VALID)

    keys.rotate(NOW + timedelta(days=100))
    assert kids(path)[1:] == [first]
    late = tokens(keys, NOW + MAX_VALID - timedelta(seconds=2))
    assert await late.identify(token) == JANE

    keys.rotate(NOW + timedelta(days=129))
    assert first in kids(path)
    keys.rotate(NOW + timedelta(days=131))
    assert first not in kids(path)
    assert len(kids(path)) == 3


def test_a_new_key_signs_at_once_in_another_process_too(path):
    serving, command = opened(path), opened(path)
    command.rotate(NOW)
    assert serving.signing_key()[0] == command.signing_key()[0] == kids(path)[0]
    assert serving.find(kids(path)[1]) is not None


@pytest.mark.parametrize("valid", [timedelta(0), timedelta(seconds=-1), MAX_VALID * 2])
def test_a_life_that_no_token_may_have(path, valid):
    with pytest.raises(ValueError, match="valid"):
        tokens(opened(path)).mint(JANE, valid)


async def test_a_token_ends(path):
    keys = opened(path)
    token = tokens(keys).mint(JANE, timedelta(minutes=1))
    with pytest.raises(UnauthenticatedError, match="expired"):
        await tokens(keys, NOW + timedelta(minutes=1)).identify(token)


async def test_no_part_of_the_private_key_is_in_a_token(path):
    keys = opened(path)
    token = tokens(keys).mint(JANE, timedelta(minutes=1))
    secret = json.loads(path.read_text())["keys"][0]["d"]
    assert secret not in token
    assert secret not in str(jwt.decode_complete(token, options={"verify_signature": False}))


def test_the_public_halves_can_be_handed_out(path):
    keys = opened(path)
    keys.rotate(NOW)
    shown = json.loads(keys.public_path.read_text())["keys"]
    assert [key["kid"] for key in shown] == kids(path)
    assert all(set(key) == {"kty", "crv", "x", "kid", "alg"} for key in shown)
    assert keys.public_path.stat().st_mode & 0o777 == 0o644
    assert keys.public_path.name == "token-keys.public.json"


def test_they_are_written_again_when_they_are_lost(path):
    keys = opened(path)
    keys.public_path.unlink()
    keys.publish()
    assert [key["kid"] for key in json.loads(keys.public_path.read_text())["keys"]] == kids(path)


def test_a_folder_they_cannot_be_written_to_is_told(path):
    keys = opened(path)
    keys.public_path.unlink()
    keys.public_path.mkdir()
    with pytest.raises(ConfigError, match="data_dir"):
        keys.publish()
