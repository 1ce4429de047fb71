"""``abaco token``: signing on the server's machine."""

from datetime import UTC, datetime

import jwt
import pytest
from click.testing import CliRunner

from abaco.cli.main import cli
from abaco.config import Settings
from backends.system import SystemClock
from backends.tokens.select import own_tokens


@pytest.fixture
def mint(tmp_path):
    def run(*arguments, **environment):
        config = tmp_path / "abaco.conf"
        config.touch()
        command = ["token", *arguments, "--config", str(config), "--data-dir", str(tmp_path)]
        return CliRunner(env=environment).invoke(cli, command)

    return run


def read(result):
    assert result.exit_code == 0, result.output
    (token,) = result.stdout.splitlines()
    return jwt.decode(token, options={"verify_signature": False})


async def test_a_token_the_server_takes(mint, tmp_path):
    token = mint("jane").stdout.strip()
    settings = Settings(general={"data_dir": str(tmp_path)})
    identity = await own_tokens(settings, SystemClock()).identify(token)
    assert (identity.user, identity.tenant) == ("jane", "DEV")
    assert identity.roles == {"Internal/abaco-user"}


def test_tenant_roles_and_life(mint):
    before = datetime.now(UTC).timestamp()
    claims = read(mint("jane", "--tenant", "LAB", "--role", "a", "--role", "b", "--hours", "0.5"))
    assert (claims["tenant"], claims["roles"]) == ("LAB", ["a", "b"])
    assert 1799 <= claims["exp"] - before <= 1802


def test_the_configured_tenant_and_its_address(mint):
    claims = read(mint("jane", web_tenant_name="LAB", web_default_api_server="https://lab/"))
    assert (claims["tenant"], claims["aud"]) == ("LAB", "https://lab")


def test_a_hint_when_no_server_would_take_it(mint):
    assert "accept_bearer" in mint("jane").stderr
    assert mint("jane", web_accept_bearer="true").stderr == ""


def test_a_new_key(mint):
    first, second, third = (
        jwt.get_unverified_header(mint("jane", *more).stdout.strip())["kid"]
        for more in ((), ("--new-key",), ())
    )
    assert first != second == third


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ABACO_WORLD"], "USER"),
        ([""], "USER"),
        (["jane", "--tenant", "a b"], "--tenant"),
        (["jane", "--hours", "0"], "--hours"),
        (["jane", "--hours", "721"], "--hours"),
        ([], "USER"),
    ],
)
def test_wrong_usage(mint, arguments, words):
    result = mint(*arguments)
    assert (result.exit_code, words in result.stderr) == (2, True)


def test_keys_that_cannot_be_used(mint, tmp_path):
    (tmp_path / "token-keys.json").write_text("{}")
    result = mint("jane")
    assert result.exit_code == 2
    assert "token-keys.json" in result.stderr
