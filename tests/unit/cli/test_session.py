"""Where the options that reach a server may stand, and which wins."""

import pytest

from abaco.cli.client import BadUrlError
from abaco.cli.session import DEFAULT_URL, Target
from tests.unit.cli.conftest import an_actor

NOWHERE = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def _actors(stub):
    stub.answer("GET", "/actors", [])


@pytest.fixture
def token_file(tmp_path):
    path = tmp_path / "token"
    path.write_text("abc.def\n")
    return str(path)


def test_before_the_command(stub, run):
    result = run("--url", stub.url, "actors", "list", ABACO_URL=NOWHERE)
    assert result.exit_code == 0, result.output
    assert len(stub.asked) == 1


def test_after_the_command_wins_over_before(stub, run):
    result = run("--url", NOWHERE, "actors", "list", "--url", stub.url)
    assert result.exit_code == 0, result.output


def test_after_the_command_wins_over_the_environment(stub, run):
    assert run("actors", "list", "--url", stub.url, ABACO_URL=NOWHERE).exit_code == 0


def test_header_and_token_before_the_command(stub, run, token_file):
    run("--jwt-header", "X-JWT-Assertion-DEV", "--token-file", token_file, "actors", "list")
    assert stub.asked[0].headers["X-Jwt-Assertion-Dev"] == "abc.def"


def test_the_halves_of_a_proof_may_stand_apart(stub, run, token_file):
    arguments = ["--token-file", token_file, "actors", "list", "--jwt-header", "X-JWT-Assertion-A"]
    assert run(*arguments).exit_code == 0
    assert stub.asked[0].headers["X-Jwt-Assertion-A"] == "abc.def"


def test_a_token_file_that_is_not_there_is_told(stub, run):
    result = run("actors", "list", "--jwt-header", "X", "--token-file", "/no/such/file")
    assert result.exit_code == 2
    assert "/no/such/file cannot be read: No such file" in result.stderr
    assert stub.asked == []


def test_commands_without_a_server_do_not_mind_a_broken_proof(run):
    result = run("serve", "--show-config", ABACO_TOKEN_FILE="/no/such/file", ABACO_URL="foo")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("url", ["foo", "localhost:8000", "http://", "//host", "http://["])
def test_a_url_that_is_none(stub, run, url):
    result = run("actors", "list", ABACO_URL=url)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"Error: {url!r} is no URL of a server")
    assert "ABACO_URL" in line


def test_without_anything_the_default_holds():
    assert Target().client().url == DEFAULT_URL


def test_a_target_takes_only_what_it_lacks():
    mine = Target(url="http://a").or_else(Target(url="http://b", jwt_header="X"))
    assert mine == Target(url="http://a", jwt_header="X")
    with pytest.raises(BadUrlError):
        Target(url="x").client()


class TestVariables:
    @pytest.mark.parametrize(
        "name",
        ["MSG", "x-nonce", "_abaco_actor_id", "_abaco_synchronous", "_actor_configs", "message"],
    )
    def test_send_refuses_parameters_that_would_be_lost(self, stub, run, name):
        result = run("send", "a1", "hi", "-p", f"{name}=x")
        assert result.exit_code == 2
        assert "--param" in result.stderr
        assert stub.asked == []

    @pytest.mark.parametrize("command", [["create", "img"], ["update", "a1"]])
    def test_actors_refuse_them_too(self, stub, run, command):
        result = run("actors", *command, "-e", "_abaco_actor_id=x")
        assert result.exit_code == 2
        assert "_abaco_actor_id is set by the server alone" in result.stderr
        assert stub.asked == []

    def test_others_are_sent(self, stub, run):
        stub.answer("POST", "/actors", an_actor())
        assert run("actors", "create", "img", "-e", "message=1", "-e", "msg=2").exit_code == 0
        assert stub.asked[-1].json["default_environment"] == {"message": "1", "msg": "2"}


def test_a_token_alone_is_a_bearer(stub, run, token_file):
    assert run("actors", "list", "--token-file", token_file).exit_code == 0
    assert stub.asked[0].headers["Authorization"] == "Bearer abc.def"


def test_a_header_without_a_token_is_told(stub, run):
    result = run("actors", "list", "--jwt-header", "X")
    assert (result.exit_code, "--token-file" in result.stderr) == (2, True)
    assert stub.asked == []
